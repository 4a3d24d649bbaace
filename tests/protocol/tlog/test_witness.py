"""The witness protocol: every rule of C2SP tlog-witness, with its status; and what the wire carries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.errors import Refused
from bftnode.protocol.merkle import EMPTY_ROOT, Frontier, consistency_proof, leaf_hash, root_of
from bftnode.protocol.tlog.checkpoints import Checkpoint
from bftnode.protocol.tlog.notes import ED25519, Note, VerifierKey, sign_text, write_note
from bftnode.protocol.tlog.witness import (
    NOTHING,
    PATH_MAX,
    REQUEST_BYTES_MAX,
    AddCheckpoint,
    Denied,
    Latest,
    judge,
    parse_add_checkpoint,
    write_add_checkpoint,
)

ORIGIN = "log.example/one"
SEED = b"a log's key, of which 32 bytes..."[:32]
KEY = VerifierKey(ORIGIN, ED25519, public_key_of(SEED))
OTHER = VerifierKey(ORIGIN, ED25519, public_key_of(bytes(32)))
LEAVES = [leaf_hash(b"%d" % i) for i in range(20)]
LOGS = {ORIGIN: (OTHER, KEY)}


def node_at(level: int, index: int) -> bytes:
    return root_of(LEAVES[index << level : (index + 1) << level])


def note(size: int, *, root: bytes | None = None, origin: str = ORIGIN, seed: bytes = SEED, text: str = "") -> bytes:
    checkpoint = Checkpoint(origin, size, root or root_of(LEAVES[:size]))
    key = VerifierKey(origin, ED25519, public_key_of(seed))
    return write_note(Note(checkpoint.text(), (sign_text(text or checkpoint.text(), key, signer(seed)),)))


def latest(size: int) -> dict[str, Latest]:
    return {ORIGIN: Latest(size, root_of(LEAVES[:size]))} if size else {}


def asked(old: int, new: int) -> AddCheckpoint:
    return AddCheckpoint(old, tuple(consistency_proof(old, new, node_at)) if old else (), note(new))


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 1), (0, 20), (1, 1), (1, 2), (7, 20), (8, 16), (20, 20)])
def test_what_is_proved_is_cosigned(old: int, new: int) -> None:
    """From nothing, from the same size, from any smaller one."""
    verdict = judge(asked(old, new), LOGS, latest(old))
    assert verdict == Checkpoint(ORIGIN, new, root_of(LEAVES[:new]))


DENIALS = {
    "not a checkpoint": (AddCheckpoint(0, (), b"something\n"), 0, 400),
    "an unknown origin": (AddCheckpoint(0, (), note(3, origin="log.example/two")), 0, 404),
    "a key that is not trusted": (AddCheckpoint(0, (), note(3, seed=b"x" * 32)), 0, 403),
    "a signature over something else": (AddCheckpoint(0, (), note(3, text="another text\n")), 0, 403),
    "an old size above the checkpoint's": (AddCheckpoint(4, (), note(3)), 4, 400),
    "an old size below what was cosigned": (asked(3, 9), 7, 409),
    "an old size above what was cosigned": (asked(7, 9), 3, 409),
    "an empty log with a root": (AddCheckpoint(0, (), note(0, root=bytes(32))), 0, 422),
    "a proof where none belongs": (AddCheckpoint(0, (bytes(32),), note(3)), 0, 422),
    "no proof": (AddCheckpoint(3, (), note(9)), 3, 422),
    "a false proof": (AddCheckpoint(3, (bytes(32),) * 4, note(9)), 3, 422),
    "another log of the same size": (AddCheckpoint(3, (), note(3, root=bytes(32))), 3, 422),
    "another log of a larger size": (
        AddCheckpoint(3, tuple(consistency_proof(3, 9, node_at)), note(9, root=bytes(32))),
        3,
        422,
    ),
}


@pytest.mark.covers("X04")
@pytest.mark.parametrize("name", DENIALS)
def test_every_denial_has_its_status(name: str) -> None:
    """As the document says; of 409 the body is the size that the witness knows."""
    request, known, status = DENIALS[name]
    verdict = judge(request, LOGS, latest(known))
    assert isinstance(verdict, Denied)
    assert verdict.status == status
    if status == 409:
        assert verdict.body == str(known)


def test_nothing_was_cosigned_at_first() -> None:
    """The empty log, which every log extends."""
    assert NOTHING == (0, EMPTY_ROOT)
    assert Frontier().root() == EMPTY_ROOT


def test_a_request_is_read_as_it_was_written() -> None:
    """With any number of proof lines."""
    for old, new in ((0, 5), (7, 20)):
        assert parse_add_checkpoint(write_add_checkpoint(asked(old, new))) == asked(old, new)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"old 3\n",
        b"new 3\n\n" + note(3),
        b"old 03\n\n" + note(3),
        b"old -1\n\n" + note(3),
        b"old 3\nAAAA\n\n" + note(3),
        b"old 3\n" + (b"A" * 43 + b"=\n") * (PATH_MAX + 1) + b"\n" + note(3),
        "old \uff13\n\n".encode() + note(3),
    ],
)
def test_what_is_no_request_is_refused(raw: bytes) -> None:
    """One spelling, and bounds."""
    with pytest.raises(Refused):
        parse_add_checkpoint(raw)


def test_the_bounds_of_a_request_are_within_it() -> None:
    """As many lines, and as many bytes, as are allowed; no more."""
    path = (bytes(32),) * PATH_MAX
    assert parse_add_checkpoint(write_add_checkpoint(AddCheckpoint(3, path, note(3)))).path == path
    most = b"old 3\n\n".ljust(REQUEST_BYTES_MAX, b"x")
    assert parse_add_checkpoint(most).note == most[len(b"old 3\n\n") :]
    with pytest.raises(Refused, match="at most"):
        parse_add_checkpoint(most + b"x")


@pytest.mark.covers("C17")
@given(st.binary(max_size=200), st.integers(0, 200))
def test_reading_is_total(junk: bytes, at: int) -> None:
    """Whatever comes is read or refused."""
    raw = write_add_checkpoint(asked(7, 20))
    for candidate in (junk, raw[:at] + junk + raw[at:]):
        try:
            judge(parse_add_checkpoint(candidate), LOGS, latest(7))
        except Refused:
            continue
