"""Keys and certificates on disk: made once, kept from others, fit for strict verifiers."""

import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from bftnode.node.identity import create_client_key, create_identity, load_identity, load_seed
from bftnode.protocol.ed25519 import check_public_key, public_key_of
from bftnode.protocol.errors import Reason, Refused

FILES = ("signing.key", "log.key", "log-ml-dsa-44.key", "tls.key", "tls.crt")


def refusal(action: object, *arguments: object) -> str:
    with pytest.raises(Refused) as caught:
        action(*arguments)  # type: ignore[operator]  # one of the four functions
    assert caught.value.reason is Reason.CONFIGURATION
    assert "\n" not in caught.value.detail
    return caught.value.detail


def test_what_was_made_is_loaded_again(tmp_path: Path) -> None:
    """Same keys, same certificate; the directory and the files are their owner's only, whatever the umask."""
    before = os.umask(0)
    try:
        made = create_identity(tmp_path / "home" / "secrets", "alpha")
    finally:
        os.umask(before)
    assert load_identity(tmp_path / "home" / "secrets") == made
    assert made.public_key == public_key_of(made.seed)
    check_public_key(made.public_key)
    assert stat.S_IMODE((tmp_path / "home" / "secrets").stat().st_mode) == 0o700
    for name in FILES:
        assert stat.S_IMODE((tmp_path / "home" / "secrets" / name).stat().st_mode) == 0o600


def test_the_seed_is_not_in_the_repr(tmp_path: Path) -> None:
    """Neither a log nor a traceback shows any of them; and they differ."""
    made = create_identity(tmp_path / "s", "alpha")
    seeds = {made.seed, made.log_seed, made.ml_dsa_seed}
    assert len(seeds) == 3
    for one in seeds:
        assert one.hex() not in repr(made)
        assert repr(one) not in repr(made)


def test_the_certificate_is_a_leaf_for_both_ends(tmp_path: Path) -> None:
    """P-256, self-signed, no authority, ten years, and with every extension that a strict verifier asks for."""
    pem = create_identity(tmp_path / "s", "alpha").certificate_pem
    certificate = x509.load_pem_x509_certificate(pem.encode())
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    certificate.verify_directly_issued_by(certificate)
    assert 3650 <= (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days <= 3660
    extensions = certificate.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is False
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["alpha"]


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    """One file that is there, be it a dangling link, is enough to refuse; and nothing new is left behind."""
    create_identity(tmp_path / "s", "alpha")
    contents = {name: (tmp_path / "s" / name).read_bytes() for name in FILES}
    assert "signing.key" in refusal(create_identity, tmp_path / "s", "alpha")
    assert contents == {name: (tmp_path / "s" / name).read_bytes() for name in FILES}
    (tmp_path / "t").mkdir(mode=0o700)
    (tmp_path / "t" / "tls.crt").symlink_to(tmp_path / "nowhere")
    assert "tls.crt" in refusal(create_identity, tmp_path / "t", "alpha")
    assert os.listdir(tmp_path / "t") == ["tls.crt"]
    create_client_key(tmp_path / "client.key")
    assert "client.key" in refusal(create_client_key, tmp_path / "client.key")


@pytest.mark.covers("O15")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
@pytest.mark.parametrize("name", ["signing.key", "log.key", "log-ml-dsa-44.key", "tls.key"])
def test_a_key_that_others_can_touch_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    """One line that names the file and says what to do."""
    create_identity(tmp_path / "s", "alpha")
    (tmp_path / "s" / name).chmod(mode)
    detail = refusal(load_identity, tmp_path / "s")
    assert str(tmp_path / "s" / name) in detail
    assert "chmod 600" in detail


@pytest.mark.covers("O15")
def test_a_directory_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    """For loading as for creating."""
    create_identity(tmp_path / "s", "alpha")
    (tmp_path / "s").chmod(0o750)
    assert "chmod 700" in refusal(load_identity, tmp_path / "s")
    (tmp_path / "t").mkdir()
    (tmp_path / "t").chmod(0o755)
    assert "chmod 700" in refusal(create_identity, tmp_path / "t", "alpha")
    assert os.listdir(tmp_path / "t") == []


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    """Missing, of another identity, not PEM, not a seed, not even a file."""
    create_identity(tmp_path / "s", "alpha")
    create_identity(tmp_path / "t", "beta")
    crt, tls_key, seed = (tmp_path / "s" / name for name in ("tls.crt", "tls.key", "signing.key"))
    good = crt.read_bytes()
    crt.write_bytes((tmp_path / "t" / "tls.crt").read_bytes())
    assert str(crt) in refusal(load_identity, tmp_path / "s")
    for wrong in (b"", b"\xff" * 100, b"x" * 100_000):
        crt.write_bytes(wrong)
        assert str(crt) in refusal(load_identity, tmp_path / "s")
    crt.write_bytes(good)
    tls_key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert str(tls_key) in refusal(load_identity, tmp_path / "s")
    for text in ("", "ab" * 31, "AB" * 32, "ab" * 33, "zz" * 32):
        seed.write_text(text)
        assert str(seed) in refusal(load_seed, seed)
    seed.unlink()
    assert str(seed) in refusal(load_identity, tmp_path / "s")
    os.mkfifo(seed, 0o600)
    assert "regular" in refusal(load_seed, seed)
    assert "nowhere" in refusal(load_identity, tmp_path / "nowhere")


def test_client_keys_are_seeds(tmp_path: Path) -> None:
    """Made for the owner only, told by their public key."""
    public = create_client_key(tmp_path / "client.key")
    assert public_key_of(load_seed(tmp_path / "client.key")) == public
    assert stat.S_IMODE((tmp_path / "client.key").stat().st_mode) == 0o600
    (tmp_path / "client.key").chmod(0o644)
    assert "chmod 600" in refusal(load_seed, tmp_path / "client.key")
