"""A world to go on from, again and again: frozen into bytes, thawed in a millisecond or two.

What never changes is not in the bytes but kept beside them and shared by all that is thawed: blocks, envelopes, signed
structures, keys, members. Everything else is: a thawed world is a world of its own. Two worlds with one `digest` are
one state: it is a hash of the bytes, and of the bytes of what is kept, from which either world is made. (The same
state can have two digests, where two of its parts are one object in one world and equal ones in the other: that costs
time, and nothing else.)
"""

import hashlib
import io
import pickle
from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar, cast

from bftnode.protocol.blocks import Block
from bftnode.protocol.codec import Wire, encode
from bftnode.protocol.transactions import Transaction
from bftnode.replica.pool import Pool
from bftnode.replica.voice import Voice

T = TypeVar("T")


class Frozen(NamedTuple, Generic[T]):
    """A world as bytes, with what they refer to."""

    data: bytes
    kept: tuple[object, ...]
    digest: bytes


def freeze(world: T, shared: Mapping[str, object]) -> Frozen[T]:
    """The world as it is. `shared`: what all such worlds have in common, by names that mean the same in all of them."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, shared)
    pickler.dump(world)
    data = buffer.getvalue()
    digest = hashlib.blake2b(data, digest_size=16)
    for name in pickler.names:
        digest.update(len(name).to_bytes(4, "big") + name)
    return Frozen(data, tuple(pickler.kept), digest.digest())


def thaw(frozen: Frozen[T]) -> T:
    """Another world like the one that was frozen."""
    return cast("T", _Unpickler(frozen).load())


class _Pickler(pickle.Pickler):
    """Names what never changes by its content. Sets, whose order is the process's own, are put in order."""

    def __init__(self, buffer: io.BytesIO, shared: Mapping[str, object]) -> None:
        super().__init__(buffer, 5)
        self.kept: list[object] = []
        self.names: list[bytes] = []
        self._number: dict[bytes, int] = {}
        self._shared = {id(thing): name.encode() for name, thing in shared.items()}

    def persistent_id(self, thing: object) -> int | None:
        """The place of what is kept beside the bytes."""
        name = self._shared.get(id(thing))
        if name is None:
            if isinstance(thing, Wire):
                name = b"wire" + type(thing).__name__.encode() + b" " + encode(thing)
            elif isinstance(thing, Block):
                name = b"block" + thing.hash
            elif isinstance(thing, Transaction):
                name = b"envelope" + thing.raw
            else:
                return None
        number = self._number.setdefault(name, len(self.kept))
        if number == len(self.kept):
            self.kept.append(thing)
            self.names.append(name)
        return number

    def reducer_override(self, thing: object) -> Any:
        """Rooms with sets of bytes and strings; the rest as always."""
        if type(thing) is Pool:
            return _pool, ({**vars(thing), "_ids": sorted(thing._ids)},)
        if type(thing) is Voice:
            return _voice, ({**vars(thing), "_accused": {key: sorted(said) for key, said in thing._accused.items()}},)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, frozen: Frozen[T]) -> None:
        super().__init__(io.BytesIO(frozen.data))
        self._kept = frozen.kept

    def persistent_load(self, number: int) -> object:
        return self._kept[number]


def _pool(state: dict[str, Any]) -> Pool:
    pool = Pool.__new__(Pool)
    vars(pool).update(state, _ids=set(state["_ids"]))
    return pool


def _voice(state: dict[str, Any]) -> Voice:
    voice = Voice.__new__(Voice)
    vars(voice).update(state, _accused={key: set(said) for key, said in state["_accused"].items()})
    return voice
