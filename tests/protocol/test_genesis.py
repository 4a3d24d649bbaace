"""The genesis file: what it says survives, what counts is in the chain id, and a mistake is one clear line."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.protocol import ed25519_vectors as frozen
from bftnode.protocol.ed25519 import public_key_of
from bftnode.protocol.errors import DETAIL_CHARACTERS_MAX, Reason, Refused
from bftnode.protocol.genesis import (
    GENESIS_BYTES_MAX,
    CosignatureKind,
    Genesis,
    ParametersFile,
    make_genesis,
    parse_genesis,
    parse_member,
    write_genesis,
    write_member,
)
from tests.protocol.cluster import seed
from tests.vectors.make import genesis, member

GENESIS = genesis()
TEXT = write_genesis(GENESIS)
ADMINISTRATOR = public_key_of(seed(0, "client")).hex()


def refusal(text: str) -> Refused:
    with pytest.raises(Refused) as caught:
        parse_genesis(text)
    assert "\n" not in str(caught.value), "one line"
    assert caught.value.detail, "that says what is wrong"
    return caught.value


def test_what_is_written_is_read() -> None:
    """The same genesis, chain id and text."""
    assert parse_genesis(TEXT) == GENESIS
    assert write_genesis(parse_genesis(TEXT)) == TEXT


def test_a_members_public_part_is_written_and_read() -> None:
    """What one organisation hands to the others."""
    assert parse_member(write_member(member(3))) == member(3)
    with pytest.raises(Refused):
        parse_member(write_member(member(3)) + 'ml_dsa_key = "null"\n')  # a text is no absence


def test_the_order_of_assembly_does_not_matter() -> None:
    """Members are sorted by key; everybody who assembles the same parts has the same chain id."""
    members = [member(i) for i in (2, 0, 3, 1)]
    again = make_genesis("example", "kv", [ADMINISTRATOR, ADMINISTRATOR], members, ParametersFile())
    assert again == GENESIS
    keys = GENESIS.membership().public_keys
    assert list(keys) == sorted(keys)
    assert GENESIS.administrator_keys() == (bytes.fromhex(ADMINISTRATOR),)


def test_an_address_is_not_part_of_the_chain_id() -> None:
    """A machine may move without a new cluster."""
    moved = [msgspec.structs.replace(one, peer_address=f"10.0.0.{i}:1") for i, one in enumerate(GENESIS.members)]
    assert msgspec.structs.replace(GENESIS, members=moved).chain_id() == GENESIS.chain_id()


@pytest.mark.covers("R06")
@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"application": "log"},
        {"administrators": [public_key_of(seed(9)).hex()]},
        {"members": [member(i) for i in range(5)]},
        {"parameters": ParametersFile(window=7)},
        {"cosignatures": ["ml-dsa-44"]},
    ],
)
def test_what_members_must_agree_on_is_in_the_chain_id(change: dict[str, object]) -> None:
    """Another name, application, administrator, member or parameter is another chain."""
    changed = msgspec.structs.replace(GENESIS, **change)
    assert changed.chain_id() != GENESIS.chain_id()


def test_keys_names_and_certificates_are_in_the_chain_id() -> None:
    """A member's name, signing key, log keys and transport pin each count."""
    first, rest = GENESIS.members[0], GENESIS.members[1:]
    for change in (
        {"name": "other"},
        {"public_key": public_key_of(seed(9)).hex()},
        {"log_key": public_key_of(seed(9, "log")).hex()},
        {"ml_dsa_key": "00" * 1312},
        {"tls_certificate": member(9).tls_certificate},
    ):
        changed: Genesis = msgspec.structs.replace(GENESIS, members=[msgspec.structs.replace(first, **change), *rest])
        assert changed.chain_id() != GENESIS.chain_id()


FIRST = GENESIS.members[0]
SECOND = GENESIS.members[1]
MISTAKES = {
    "not TOML": ("version = 1", "version = = 1"),
    "an unknown key": ("version = 1", "version = 1\nverion = 1"),
    "an unknown key of two lines": ("version = 1", 'version = 1\n"a\\nb" = 1'),
    "a newer version": ("version = 1", "version = 2"),
    "a missing name": ('name = "example"\n', ""),
    "a name in capitals": ('name = "example"', 'name = "Example"'),
    "a name that ends in a line break": ('name = "example"', 'name = "example\\n"'),
    "a number for a name": ('name = "example"', "name = 1"),
    "no administrator": (f'administrators = [\n  "{ADMINISTRATOR}",\n]', "administrators = []"),
    "an administrator twice": (f'  "{ADMINISTRATOR}",', f'  "{ADMINISTRATOR}",\n  "{ADMINISTRATOR}",'),
    "a weak administrator": (ADMINISTRATOR, frozen.SMALL_ORDER[0]),
    "a weak member": (FIRST.public_key, frozen.SMALL_ORDER[6]),
    "a key in capitals": (FIRST.public_key, FIRST.public_key.upper()),
    "a short key": (FIRST.public_key, FIRST.public_key[2:]),
    "a weak log key": (FIRST.log_key, frozen.SMALL_ORDER[6]),
    "no log key": (f'log_key = "{FIRST.log_key}"\n', ""),
    "a log key twice": (SECOND.log_key, FIRST.log_key),
    "a log key that votes": (SECOND.log_key, FIRST.public_key),
    "an unknown cosignature": ('cosignatures = ["ed25519"]', 'cosignatures = ["rsa"]'),
    "no cosignature": ('cosignatures = ["ed25519"]', "cosignatures = []"),
    "a cosignature twice": ('cosignatures = ["ed25519"]', 'cosignatures = ["ed25519", "ed25519"]'),
    "a cosignature without keys": ('cosignatures = ["ed25519"]', 'cosignatures = ["ed25519", "ml-dsa-44"]'),
    "keys without a cosignature": (
        f'log_key = "{FIRST.log_key}"',
        f'log_key = "{FIRST.log_key}"\nml_dsa_key = "{"00" * 1312}"',
    ),
    "a key twice": (SECOND.public_key, FIRST.public_key),
    "a member's name twice": (f'name = "{SECOND.name}"', f'name = "{FIRST.name}"'),
    "an address twice": (SECOND.peer_address, FIRST.peer_address),
    "an address without a port": (FIRST.peer_address, "node0.example"),
    "a certificate twice": (SECOND.tls_certificate, FIRST.tls_certificate),
    "a certificate twice, laid out otherwise": (
        SECOND.tls_certificate,
        FIRST.tls_certificate.replace("bm90", "bm90\n"),
    ),
    "text before a certificate": ("-----BEGIN", "X-----BEGIN"),
    "another beginning than a certificate's": ("-----BEGIN CERT", "-----BEGIN DESERT"),
    "a certificate of no lines": (
        FIRST.tls_certificate.strip(),
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
    ),
    "no certificate": (FIRST.tls_certificate.strip(), "none"),
    "a certificate that is not base64": (FIRST.tls_certificate.splitlines()[1], "%%%%"),
    "a certificate that is not ASCII": (FIRST.tls_certificate.splitlines()[1], "éééé"),
    "a window of 0": ("window = 8", "window = 0"),
    "a window that is too wide": ("window = 8", "window = 9"),
    "a negative number": ("clients_max = 10000", "clients_max = -1"),
    "a number beyond 64 bits": ("clients_max = 10000", f"clients_max = {2**64}"),
    "a number beyond all bounds": ("clients_max = 10000", f"clients_max = {'9' * 5000}"),
    "a float": ("window = 8", "window = 8.0"),
    "a bool": ("window = 8", "window = true"),
    "a date": ("window = 8", "window = 2026-01-01"),
    "a nest": ("window = 8", "window = " + "[" * 5000 + "]" * 5000),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line(mistake: str) -> None:
    """An operator sees what is wrong, not a traceback."""
    good, bad = MISTAKES[mistake]
    assert good in TEXT
    assert refusal(TEXT.replace(good, bad, 1)).reason in (Reason.CONFIGURATION, Reason.AUTH_WEAK_KEY)


def with_ml_dsa() -> Genesis:
    members = [
        msgspec.structs.replace(one, ml_dsa_key=hashlib.shake_256(one.name.encode()).hexdigest(1312))
        for one in GENESIS.members
    ]
    kinds: tuple[CosignatureKind, ...] = ("ml-dsa-44", "ed25519")
    return make_genesis("example", "kv", [ADMINISTRATOR], members, ParametersFile(), kinds)


def test_keys_of_both_kinds_are_written_and_read() -> None:
    """Where the genesis wants ML-DSA-44, every member has such a key in it; elsewhere it is left out."""
    both = with_ml_dsa()
    assert both.cosignatures == ["ed25519", "ml-dsa-44"]
    assert parse_genesis(write_genesis(both)) == both
    without = make_genesis("example", "kv", [ADMINISTRATOR], both.members, ParametersFile())
    assert without == GENESIS
    twice = [msgspec.structs.replace(one, ml_dsa_key=both.members[0].ml_dsa_key) for one in both.members]
    assert "the same" in refusal(write_genesis(msgspec.structs.replace(both, members=twice))).detail


def test_members_cosign_by_the_kinds_that_the_genesis_wants() -> None:
    """By either, or by both: a policy names no key that its member does not use."""
    both = with_ml_dsa()
    for kinds, wanted in ((both.cosignatures, (True, True)), (["ml-dsa-44"], (False, True))):
        for keys in msgspec.structs.replace(both, cosignatures=kinds).member_keys():
            assert (keys.ed25519 is not None, keys.ml_dsa_44 is not None) == wanted
    assert all(keys.ml_dsa_44 is None and keys.ed25519 == keys.log for keys in GENESIS.member_keys())


def test_a_cluster_has_four_members_at_least() -> None:
    """Three cannot bear a single fault."""
    cut = TEXT.rindex("[[members]]")
    assert "3 members" in refusal(TEXT[:cut]).detail


def test_members_are_in_order() -> None:
    """A file that somebody sorted otherwise would give members other indexes."""
    head, one, two, *rest = TEXT.split("[[members]]")
    assert "sorted" in refusal("[[members]]".join([head, two, one, *rest])).detail


def test_a_file_has_a_size() -> None:
    """A larger one is not read, and one as large as that is."""
    assert refusal(TEXT + "#" * GENESIS_BYTES_MAX).reason is Reason.CONFIGURATION
    assert parse_genesis(TEXT + "#" * (GENESIS_BYTES_MAX - len(TEXT))) == GENESIS
    assert "at most" in refusal(TEXT + "#" * (GENESIS_BYTES_MAX - len(TEXT) + 1)).detail


@pytest.mark.parametrize("text", ["", "name = 5", "= no toml", "name = 'x'\n\n\npublic_key = 5"])
def test_a_file_that_is_no_members_is_refused_in_one_line(text: str) -> None:
    """With the reason that programs go by."""
    with pytest.raises(Refused) as caught:
        parse_member(text)
    assert caught.value.reason is Reason.CONFIGURATION
    assert caught.value.detail.splitlines() == [" ".join(caught.value.detail.split())]


@pytest.mark.covers("C17")
@given(st.text(max_size=60), st.integers(0, len(TEXT)))
def test_parsing_is_total(text: str, at: int) -> None:
    """Whatever is written into the file: it is a genesis or refused."""
    for candidate in (text, TEXT[:at] + text + TEXT[at:]):
        refused = None
        try:
            parse_genesis(candidate)
        except Refused as error:
            refused = error
        assert "\n" not in str(refused)


def test_a_long_mistake_is_few_words() -> None:
    """A file of somebody else's does not come back as our message."""
    assert len(refusal(f"{'x' * 100_000} = 1\n").detail) == DETAIL_CHARACTERS_MAX


@pytest.mark.parametrize("mark", ["\\u001c", "\\u000b", "\\f", "\\r", "\\u0085", "\\u2003"])
def test_what_is_accepted_can_be_written(mark: str) -> None:
    """A certificate with a space that is none would make a file that nobody reads."""
    text = write_genesis(genesis())
    end = "-----END CERTIFICATE-----\n"
    for place, marked in (
        ("\n-----END", f"{mark}\n-----END"),
        ("-----\nbm90", f"-----\n{mark}bm90"),
        (end, end + mark),
    ):
        with_mark = text.replace(place, marked, 1)
        assert with_mark != text
        assert "not one PEM certificate" in refusal(with_mark).detail
