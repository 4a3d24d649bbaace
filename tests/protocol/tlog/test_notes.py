"""Signed notes: the document's own example, the one spelling of each, and that only the right key proves a text."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.tlog.notes import (
    ED25519,
    NAME_BYTES_MAX,
    NOTE_BYTES_MAX,
    SIGNATURES_MAX,
    Note,
    NoteSignature,
    VerifierKey,
    parse_note,
    parse_verifier_key,
    sign_text,
    signature_line,
    verify_text,
    write_note,
)
from tests.protocol.cluster import seed

# c2sp.org/signed-note, "Example" and "Format".
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
POEM = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "— quasimodo.example/salvatore "
    "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
).encode()
KEY = VerifierKey("example.com/log", ED25519, public_key_of(seed(0)))
SIGN = signer(seed(0))


def refused(what: str, raw: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        parse_note(raw)
    assert refusal.value.reason is Reason.NOTE_MALFORMED, what


def test_the_documents_example_verifies() -> None:
    """Its verifier key, its note, and back to the same bytes."""
    key, note = parse_verifier_key(VKEY), parse_note(EXAMPLE)
    assert (key.name, key.kind, key.text) == ("example.com/foo", ED25519, VKEY)
    verify_text(note.text, note.signatures[0], key)
    assert write_note(note) == EXAMPLE


def test_a_text_may_have_empty_lines() -> None:
    """The last one ends it (the document's first example)."""
    note = parse_note(POEM)
    assert note.text.endswith("sole:\n\ned è subito sera.\n")
    assert write_note(note) == POEM


def test_what_is_signed_verifies_for_that_text_and_key_alone() -> None:
    """Another text, key, name, type or bit of the signature does not."""
    signature = sign_text("a text\n", KEY, SIGN)
    verify_text("a text\n", signature, KEY)
    flipped = signature._replace(value=bytes((signature.value[0] ^ 1,)) + signature.value[1:])
    other = VerifierKey(KEY.name, ED25519, public_key_of(seed(1)))
    for text, line, key in [
        ("another\n", signature, KEY),
        ("a text\n", flipped, KEY),
        ("a text\n", signature._replace(value=b""), KEY),
        ("a text\n", signature, other),
        ("a text\n", signature._replace(key_id=other.key_id), other),
        ("a text\n", signature._replace(name="example.com/other"), KEY),
        ("a text\n", signature, KEY._replace(kind=4)),
    ]:
        with pytest.raises(Refused) as refusal:
            verify_text(text, line, key)
        assert refusal.value.reason is Reason.NOTE_UNPROVED


LINE = signature_line(sign_text("a\n", KEY, SIGN))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n",
        "\n\n" + LINE,
        "a" + LINE,
        "a\n" + LINE,
        "a\n\n" + LINE[:-1],
        "a\n\n" + LINE + "\n",
        "a\n\n" + LINE + "x\n",
        "a\r\n\n" + LINE,
        "a\t\n\n" + LINE,
        "a\x00\n\n" + LINE,
        "a\n\n" + LINE.replace("— ", "- "),
        "a\n\n" + LINE.replace("— ", "—"),
        "a\n\n" + LINE.replace("com/log", "com+log"),
        "a\n\n" + LINE.replace("com/log", "com\u00a0log"),
        "a\n\n" + LINE.replace("example.com/log ", ""),
        "a\n\n" + LINE.replace("example.com/log ", "example.com/log  "),
        "a\n\n" + LINE.replace("example.com/log", ""),
        "a\n\n" + LINE.replace("=", ""),
        "a\n\n" + LINE.replace("\n", " \n"),
        "a\n\n— example.com/log AAAAAA==\n",
        "a\n\n— example.com/log AAAAAAB=\n",
        f"a\n\n— {'n' * 256} AAAAAAA=\n",
        "a\n\n" + LINE * (SIGNATURES_MAX + 1),
        "a" * 1_000_000 + "\n\n" + LINE,
    ],
)
def test_a_malformed_note_is_refused(text: str) -> None:
    """Each rule of the format, broken once; and bytes that are no UTF-8."""
    refused(text[:80], text.encode())


def test_other_bytes_than_utf8_are_refused() -> None:
    """A surrogate, an overlong form and a lone byte."""
    for raw in (b"\xff", b"\xed\xa0\x80", b"\xc0\xae"):
        refused("bytes", b"a" + raw + b"\n\n" + LINE.encode())


@given(st.binary(max_size=300))
def test_no_bytes_break_it(raw: bytes) -> None:
    """A note or a refusal, and a note comes back as the same bytes."""
    for candidate in (raw, b"a\n\n" + raw, b"a\n\n\xe2\x80\x94 n " + raw + b"\n"):
        with suppress(Refused):
            assert write_note(parse_note(candidate)) == candidate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        VKEY.replace("530d903a", "530d903b"),
        VKEY.replace("530d903a", "530D903A"),
        VKEY.replace("+530d903a", ""),
        VKEY.replace("foo", "fo o"),
        VKEY[:-1],
        VKEY + "=",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "n+00000000+AA==",
    ],
)
def test_a_malformed_verifier_key_is_refused(text: str) -> None:
    """Among others one whose id is not that of its name, type and key."""
    with pytest.raises(Refused) as refusal:
        parse_verifier_key(text)
    assert refusal.value.reason is Reason.NOTE_MALFORMED


def test_the_shortest_key_and_the_longest_name_are_within_the_bounds() -> None:
    """A type and one byte of a key, whatever that is worth to its type; a name of as many bytes as are allowed."""
    for key in (VerifierKey("n", 9, b"k"), VerifierKey("n" * NAME_BYTES_MAX, ED25519, KEY.public_key)):
        assert parse_verifier_key(key.text) == key
    with pytest.raises(Refused):
        parse_verifier_key(VerifierKey("n" * (NAME_BYTES_MAX + 1), ED25519, KEY.public_key).text)


def test_a_key_has_an_id_for_each_type() -> None:
    """So that one key under one name is still not taken for another type's."""
    ids = {KEY._replace(kind=kind).key_id for kind in range(256)}
    assert len(ids) == 256
    assert parse_note(write_note(Note("x\n", (NoteSignature("n", b"1234", b"5"),)))).signatures[0].value == b"5"


def test_the_bounds_of_a_note_are_within_it() -> None:
    """As many signatures, and as many bytes, as are allowed."""
    assert len(parse_note(("a\n\n" + LINE * SIGNATURES_MAX).encode()).signatures) == SIGNATURES_MAX
    end = f"\n\n{LINE}".encode()
    most = b"a" * (NOTE_BYTES_MAX - len(end)) + end
    assert len(parse_note(most).text) == NOTE_BYTES_MAX - len(end) + 1
    with pytest.raises(Refused):
        parse_note(b"a" + most)
