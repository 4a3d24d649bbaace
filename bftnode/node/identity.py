"""A member's secrets on disk: the seeds that sign as replica and for the log, the TLS key and its certificate.

signing.key votes; log.key (Ed25519) and log-ml-dsa-44.key sign and cosign checkpoints and nothing else (decision 014).

Files are made once, never overwritten, and refused when anyone but their owner could read them (faults.md O15).
The certificate is self-signed: the genesis pins it, no authority vouches for it (docs/operations.md, "TLS").
Client keys are the same kind of seed file.
"""

import datetime
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bftnode.protocol.cosigning import CheckpointKeys, CheckpointSigner
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.tlog.cosignatures import ED25519, ML_DSA_44

SIGNING_KEY = "signing.key"
LOG_KEY = "log.key"
ML_DSA_KEY = "log-ml-dsa-44.key"
TLS_KEY = "tls.key"
TLS_CERTIFICATE = "tls.crt"

CERTIFICATE_DAYS = 3652
BACKDATE = datetime.timedelta(days=1)
"""A peer whose clock is behind would call a new certificate not yet valid."""

FILE_BYTES_MAX = 64 * 1024

_SEED = re.compile(r"[0-9a-f]{64}\n?\Z")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Identity:
    """One member's keys. The seeds are not in its repr, so not in a traceback or a log."""

    seed: bytes = field(repr=False)
    public_key: bytes
    log_seed: bytes = field(repr=False)
    log_public_key: bytes
    ml_dsa_seed: bytes = field(repr=False)
    ml_dsa_public_key: bytes
    certificate_pem: str
    certificate_path: Path
    tls_key_path: Path


def create_identity(secrets_dir: Path, name: str) -> Identity:
    """New keys and certificate for the member `name` in `secrets_dir` (made with mode 0700).

    Raises Refused(CONFIGURATION) if any of the files is there already, or others may enter the directory; OSError.
    """
    secrets_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_directory(secrets_dir)
    paths = [secrets_dir / file for file in (SIGNING_KEY, LOG_KEY, ML_DSA_KEY, TLS_KEY, TLS_CERTIFICATE)]
    for path in paths:
        if os.path.lexists(path):
            raise Refused(Reason.CONFIGURATION, f"{path} exists; keys are never overwritten")
    tls_key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = make_certificate(tls_key, name, now - BACKDATE, now + datetime.timedelta(days=CERTIFICATE_DAYS))
    contents = [
        *(_seed_text(secrets.token_bytes(32)) for _ in (SIGNING_KEY, LOG_KEY, ML_DSA_KEY)),
        tls_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        certificate.public_bytes(serialization.Encoding.PEM),
    ]
    for path, content in zip(paths, contents, strict=True):
        _write_new(path, content)
    return load_identity(secrets_dir)


def load_identity(secrets_dir: Path) -> Identity:
    """What `create_identity` made. Raises Refused(CONFIGURATION) naming the file that is missing, too open or wrong."""
    _check_directory(secrets_dir)
    seed, log_seed, ml_dsa_seed = (load_seed(secrets_dir / file) for file in (SIGNING_KEY, LOG_KEY, ML_DSA_KEY))
    ml_dsa = MLDSA44PrivateKey.from_seed_bytes(ml_dsa_seed).public_key().public_bytes_raw()
    key_path, certificate_path = secrets_dir / TLS_KEY, secrets_dir / TLS_CERTIFICATE
    key_pem = _read_secret(key_path)
    pem = _read(certificate_path)
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(key_pem, password=None)
        if certificate.public_key() != key.public_key():
            raise Refused(Reason.CONFIGURATION, f"{certificate_path} is not the certificate of {key_path}")
    except (ValueError, TypeError):
        raise Refused(Reason.CONFIGURATION, f"{key_path} or {certificate_path} is not readable PEM") from None
    return Identity(
        seed,
        public_key_of(seed),
        log_seed,
        public_key_of(log_seed),
        ml_dsa_seed,
        ml_dsa,
        pem.decode("ascii"),
        certificate_path,
        key_path,
    )


def checkpoint_signer(identity: Identity, keys: CheckpointKeys, member: int) -> CheckpointSigner:
    """What this member signs checkpoints with: its keys are those of `keys`, which comes from the genesis."""
    log = signer(identity.log_seed)
    ml_dsa = MLDSA44PrivateKey.from_seed_bytes(identity.ml_dsa_seed)
    signers = {ED25519: log, ML_DSA_44: ml_dsa.sign}
    return CheckpointSigner(keys, member, log, tuple(signers[key.kind] for key in keys.cosigning_keys[member]))


def create_client_key(path: Path) -> bytes:
    """A new seed file (mode 0600); returns the public key. Raises Refused(CONFIGURATION) if it exists; OSError."""
    seed = secrets.token_bytes(32)
    _write_new(path, _seed_text(seed))
    return public_key_of(seed)


def load_seed(path: Path) -> bytes:
    """The 32 bytes of a seed file. Raises Refused(CONFIGURATION) if it is missing, too open or not a seed."""
    text = _read_secret(path).decode("ascii", errors="replace")
    if not _SEED.match(text):
        raise Refused(Reason.CONFIGURATION, f"{path} is not a key: 64 lower-case hexadecimal digits")
    return bytes.fromhex(text.strip())


def make_certificate(
    key: ec.EllipticCurvePrivateKey, name: str, not_before: datetime.datetime, not_after: datetime.datetime
) -> x509.Certificate:
    """A self-signed leaf for both ends of a connection, with all that a strict verifier asks for (RFC 5280)."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(key_id, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )


def _seed_text(seed: bytes) -> bytes:
    return seed.hex().encode("ascii") + b"\n"


def _check_directory(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise Refused(Reason.CONFIGURATION, f"{path}: {error.strerror}") from None
    if not stat.S_ISDIR(mode):
        raise Refused(Reason.CONFIGURATION, f"{path} is not a directory")
    if mode & _OTHERS:
        raise Refused(Reason.CONFIGURATION, f"{path} is open to others (mode {mode & 0o777:04o}); chmod 700 it")


def _write_new(path: Path, content: bytes) -> None:
    """Durably, never over another file, readable by the owner only."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Refused(Reason.CONFIGURATION, f"{path} exists; keys are never overwritten") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read_secret(path: Path) -> bytes:
    return _read(path, secret=True)


def _read(path: Path, *, secret: bool = False) -> bytes:
    """The mode is that of the open file, so that no exchange between look and read helps anyone."""
    try:
        with open(path, "rb", opener=_open_regular) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise Refused(Reason.CONFIGURATION, f"{path} is not a regular file")
            if secret and mode & _OTHERS:
                raise Refused(Reason.CONFIGURATION, f"{path} is open to others (mode {mode & 0o777:04o}); chmod 600 it")
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Refused(Reason.CONFIGURATION, f"{path}: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise Refused(Reason.CONFIGURATION, f"{path} is too long to be a key")
    return content


def _open_regular(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO in its place does not hang the start
