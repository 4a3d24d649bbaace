"""Signed notes (c2sp.org/signed-note): a text, and lines that say who signed it.

    TEXT that ends in a newline
    (an empty line)
    — KEY NAME base64(key id || signature)

What a signature is of, and how long, its key's type says; only Ed25519 over the text itself (0x01) is of this module.
A note says nothing until a key that the reader knew beforehand has signed it.
"""

import hashlib
from typing import NamedTuple

from bftnode.protocol import ed25519
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.tlog.encoding import from_base64, malformed, to_base64

ED25519 = 0x01
"""Signature type: Ed25519 over the note's text."""

NOTE_BYTES_MAX = 1_000_000
SIGNATURES_MAX = 100
"""A longer note, or one of more signatures, is refused: the bounds of golang.org/x/mod/sumdb/note, so that its readers
take what we write. 64 members have a quorum of 43, each with at most two cosignatures: 86 and the log's own."""

NAME_BYTES_MAX = 255
"""Of a key's name; what an ML-DSA-44 cosignature has room for (c2sp.org/tlog-cosignature)."""

_DASH = "\N{EM DASH} "


class NoteSignature(NamedTuple):
    """One signature line. `value` is what follows the key id; its length and meaning depend on the key's type."""

    name: str
    key_id: bytes
    value: bytes


class Note(NamedTuple):
    """`text` with its final newline, and the signatures in the order of their lines."""

    text: str
    signatures: tuple[NoteSignature, ...]


class VerifierKey(NamedTuple):
    """A public key with the name that signs by it and the type of its signatures."""

    name: str
    kind: int
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || 0x0A || type || public key)[:4], as c2sp.org/signed-note recommends."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes((self.kind,)) + self.public_key).digest()[:4]

    @property
    def text(self) -> str:
        """The "vkey": name+hex(key id)+base64(type || public key)."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes((self.kind,)) + self.public_key)}"

    def made(self, signature: NoteSignature) -> bool:
        """Whether a signature line says that it is this key's."""
        return signature.name == self.name and signature.key_id == self.key_id


def check_name(name: str) -> None:
    """Raises Refused(NOTE_MALFORMED) for what cannot name a key."""
    if not name or "+" in name or any(mark.isspace() or mark < " " for mark in name):
        raise malformed("a key's name has no spaces, no control characters and no plus, and is not empty")
    if len(name.encode()) > NAME_BYTES_MAX:
        raise malformed(f"a key's name is at most {NAME_BYTES_MAX} bytes")


def parse_verifier_key(text: str) -> VerifierKey:
    """The key in a vkey; its id is the one that its name and material make. Raises Refused(NOTE_MALFORMED)."""
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise malformed("a verifier key is NAME+ID+KEY")
    name, key_id, material = parts
    check_name(name)
    raw = from_base64(material, "the key of a verifier key")
    if len(raw) < 2:
        raise malformed("a verifier key has a type and a key")
    key = VerifierKey(name, raw[0], raw[1:])
    if key.key_id.hex() != key_id:
        raise malformed(f"the id of the verifier key of {_shown(name)} is not the one of its key")
    return key


def parse_note(raw: bytes) -> Note:
    """The parts of a note; nothing is verified. Raises Refused(NOTE_MALFORMED)."""
    if len(raw) > NOTE_BYTES_MAX:
        raise malformed(f"a note is at most {NOTE_BYTES_MAX} bytes")
    try:
        whole = raw.decode()
    except UnicodeDecodeError:
        raise malformed("a note is UTF-8") from None
    if any(mark < " " and mark != "\n" for mark in whole):
        raise malformed("a note has no control characters but newlines")
    text, blank, rest = whole.rpartition("\n\n")
    if not blank or not text or not rest.endswith("\n"):
        raise malformed("a note is a text, an empty line, and lines of signatures")
    lines = rest[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise malformed(f"a note has at most {SIGNATURES_MAX} signatures")
    return Note(text + "\n", tuple(_parse_signature(line) for line in lines))


def _parse_signature(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise malformed("a line of a signature is a dash, a name and a signature")
    check_name(name)
    raw = from_base64(encoded, "a signature")
    if len(raw) < 5:
        raise malformed("a signature has a key id and a value")
    return NoteSignature(name, raw[:4], raw[4:])


def write_note(note: Note) -> bytes:
    """The bytes of a note, which `parse_note` reads. Its parts are our own: the text ends in a newline."""
    assert note.text.endswith("\n"), "a text of lines"
    assert note.signatures, "a note is signed"
    return f"{note.text}\n{''.join(signature_line(one) for one in note.signatures)}".encode()


def signature_line(signature: NoteSignature) -> str:
    """The line of one signature, with its newline."""
    return f"{_DASH}{signature.name} {to_base64(signature.key_id + signature.value)}\n"


def sign_text(text: str, key: VerifierKey, sign: ed25519.Signer) -> NoteSignature:
    """A signature over the text itself; `sign` signs for `key`, which is of type 0x01."""
    assert key.kind == ED25519, "other types sign other bytes"
    return NoteSignature(key.name, key.key_id, sign(text.encode()))


def verify_text(text: str, signature: NoteSignature, key: VerifierKey) -> None:
    """Raises Refused(NOTE_UNPROVED) unless it is this key's signature over the text."""
    if key.kind != ED25519 or not key.made(signature):
        raise Refused(Reason.NOTE_UNPROVED, f"not a signature of {_shown(key.name)}")
    if not ed25519.verify(key.public_key, text.encode(), signature.value):
        raise Refused(Reason.NOTE_UNPROVED, f"the signature of {_shown(key.name)} is not valid")


def _shown(name: str) -> str:
    """A key's name as a message may carry it (faults.md A19)."""
    return ascii(name[:80])
