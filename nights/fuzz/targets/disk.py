"""What storage reads back: sealed records, whatever happened to them; and values as its readers open them."""

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from bftnode.protocol import limits
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import decoder_of, encode
from bftnode.protocol.cosigning import Cosigned
from bftnode.protocol.messages import ForkProof
from bftnode.protocol.nonces import ClientRecord, ClientWindow
from bftnode.protocol.results import TransactionResult
from bftnode.replica.cosigning import CosignedRecord
from bftnode.replica.position import ClosedRecord, ViewRecord, VoteRecord
from bftnode.replica.voice import BootRecord
from bftnode.storage.errors import IntegrityError
from bftnode.storage.records import (
    SEAL_BYTES,
    Database,
    Identity,
    Kept,
    Logged,
    Placed,
    open_identity,
    open_kept,
    open_logged,
    open_placed,
    opened,
    seal,
    unseal,
)
from bftnode.storage.state import StateRecord
from nights.fuzz.cluster import CHAIN, golden
from nights.fuzz.examples import examples_of
from nights.fuzz.oracle import Target, attempt, holds
from nights.fuzz.targets.peers import ONE_SPELLING, altered
from nights.fuzz.trees import leave, mutator

DB = Database("journal", None, b"journal\x00")  # type: ignore[arg-type]  # nothing is looked up in it
KEY = b"key"


class Reader(NamedTuple):
    kind: type
    read: Callable[[bytes], Any]


READERS = (
    Reader(Identity, open_identity),
    Reader(Kept, open_kept),
    Reader(Logged, open_logged),
    Reader(Placed, open_placed),
    *(
        Reader(kind, decoder_of(kind, bytes_max))
        for kind, bytes_max in (
            (Certificate, limits.BODY_BYTES_MAX),
            (Cosigned, limits.BODY_BYTES_MAX),
            (ForkProof, limits.BODY_BYTES_MAX),
            (ClientRecord, 4096),
            (TransactionResult, limits.FRAME_BYTES_MAX),
            (StateRecord, 256),
            (ViewRecord, limits.BODY_BYTES_MAX),
            (VoteRecord, limits.BODY_BYTES_MAX),
            (ClosedRecord, limits.BODY_BYTES_MAX),
            (BootRecord, limits.BODY_BYTES_MAX),
            (CosignedRecord, limits.BODY_BYTES_MAX),
        )
    ),
)
"""As storage opens them; those of its files that are private to them with the same bounds."""


def check_record(data: bytes) -> bool:
    """The first byte says which reader; where it is odd beyond them the rest is a sealed record as it stands on disk,
    otherwise a value that is sealed here."""
    if not data:
        return False
    sealed_here, reader = data[0] < 128, READERS[data[0] % 128 % len(READERS)]
    raw = seal(DB, KEY, data[1:]) if sealed_here else data[1:]
    value = attempt(IntegrityError, unseal, DB, KEY, raw)
    holds(value is not None or not sealed_here, "a sealed record is whole", "it is not")
    if value is None:
        return False
    holds(seal(DB, KEY, value) == raw, ONE_SPELLING, "of a sealed record")
    holds(attempt(IntegrityError, unseal, DB, KEY + b"x", raw) is None, "a record is under its own key", "it is not")
    record = attempt(IntegrityError, opened, DB, KEY, reader.read, value)
    if record is None:
        return False
    holds(encode(record) == value, ONE_SPELLING, "of a record")
    if isinstance(record, ClientRecord):
        window = ClientWindow.load(record)
        holds(window.record() == record, ONE_SPELLING, "of a client's window")
        for nonce in (record.highest + 1, record.highest + 100_000, record.highest, record.highest - 1, 1):
            window.refusal(nonce)
    return True


def seeds_of_records() -> list[bytes]:
    values = [
        bytes((number,)) + encode(one)
        for number, reader in enumerate(READERS)
        for one in examples_of(reader.kind)
        if len(encode(one)) < 4000
    ]
    identity = encode(Identity(2, CHAIN, 1, b"k" * 32))
    real = [bytes((number,)) + raw for number, name in ((4, "certificate"), (8, "result")) for raw in golden(name)]
    return [*values, *real, b"\x80" + seal(DB, KEY, identity), b"\x80" + bytes(SEAL_BYTES - 1)]


def _mutate_record(data: bytes, dice: Random) -> bytes:
    if data[:1] >= b"\x80" or dice.random() < 0.1:
        return altered(data, dice)
    return data[:1] + _mutate_value(data[1:], dice)


_mutate_value = mutator(leave, lambda: [seed[1:] for seed in seeds_of_records() if seed[0] < 128])

TARGETS = (
    Target(
        "records",
        "a record of the data directory, sealed or damaged, as storage's readers open it",
        check_record,
        seeds_of_records,
        _mutate_record,
    ),
)
