"""What a liar has seen: messages to take values from, and to say again."""

from collections import deque
from collections.abc import Hashable
from functools import cache
from random import Random
from typing import Any

import msgspec
from msgspec import inspect

from bftnode.protocol.codec import reader_of
from bftnode.protocol.envelope import Frame
from bftnode.protocol.messages import Kind
from bftnode.protocol.transactions import SignedBody
from simulations.judges import kind_of
from simulations.mutation.operators import Unchanged, plain
from simulations.mutation.shapes import ENVELOPE, MESSAGES, Field, fields_of, places, value_at

KEPT = 8
"""Messages of a kind; at the bound the oldest is forgotten."""

TRIES = 6

_NAMES = {int(kind): kind.name for kind in Kind}
_frame = reader_of(Frame)
_envelope = reader_of(SignedBody)


def whole_of(message: str, raw: bytes) -> Any:
    """The outermost struct of a message. Raises msgspec.DecodeError."""
    return _envelope(raw) if message == ENVELOPE else _frame(raw)


def name_of(raw: bytes) -> str:
    """What kind of frame it is; "" where it is none of ours."""
    return _NAMES.get(kind_of(raw), "")


def alike(of: inspect.Type) -> Hashable:
    """Two fields whose types give the same may take each other's values."""
    match plain(of):
        case inspect.BytesType(min_length=least, max_length=most):
            return "bytes", least, most
        case inspect.StructType(cls=cls):
            return cls
        case inspect.VarTupleType(item_type=item):
            return "list", alike(item)
        case other:
            return type(other)


@cache
def _fields_alike(wanted: Hashable) -> tuple[Field, ...]:
    return tuple(
        field for message in MESSAGES for field in fields_of(message) if field.steps and alike(field.type) == wanted
    )


class Bank:
    """Messages, unchanged, by kind."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[bytes]] = {}
        self._own: dict[str, deque[bytes]] = {}

    def keep(self, message: str, raw: bytes, *, own: bool = False) -> None:
        """A message that came by; `own`: it may be said again."""
        kept = self._seen.get(message)
        if kept is None:
            kept = self._seen[message] = deque(maxlen=KEPT)
        kept.append(raw)
        if own:
            self._own.setdefault(message, deque(maxlen=KEPT)).append(raw)

    def older(self, message: str, than: bytes, dice: Random) -> bytes:
        """Another one that was said before."""
        others = [raw for raw in self._own.get(message, ()) if raw != than]
        if not others:
            raise Unchanged
        return dice.choice(others)

    def value(self, field: Field, of: inspect.Type, dice: Random) -> Any:
        """A value of this type: of the same field of another message, or of any field of its type."""
        wanted = alike(of)
        others = [other for other in _fields_alike(wanted) if other.message in self._seen]
        for _ in range(TRIES):
            same = dice.random() < 0.5 and field.message in self._seen and alike(field.type) == wanted
            if not same and not others:
                continue
            chosen = field if same else dice.choice(others)
            try:
                whole = whole_of(chosen.message, dice.choice(self._seen[chosen.message]))
            except msgspec.DecodeError:
                continue  # another liar's junk
            found = places(whole, chosen.steps)
            if found:
                value = value_at(whole, dice.choice(found))
                if value is not None:
                    return value
        raise Unchanged
