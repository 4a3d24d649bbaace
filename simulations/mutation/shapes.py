"""What a message is made of: every field of every kind, those within the bytes that it carries included.

Read off the structs by introspection. What no struct can say is which bytes hold an encoded value of their own: that is
`CARRIED`, and what is nobody's structure is `OPAQUE`; a test holds the two against all messages, so that a new field of
bytes belongs to one of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from bftnode.protocol.blocks import Header, Packed
from bftnode.protocol.codec import Wire, encode, reader_of
from bftnode.protocol.envelope import Frame
from bftnode.protocol.messages import (
    BODY_OF,
    Accusation,
    BlockAnswer,
    ForkProof,
    Kind,
    NewView,
    PrePrepare,
)
from bftnode.protocol.transactions import SignedBody, TransactionBody

ENVELOPE = "ENVELOPE"
"""What clients say; members' messages are called as their kinds are."""

MESSAGES = (*(kind.name for kind in Kind), ENVELOPE)


@dataclass(frozen=True, slots=True)
class Carries:
    """Bytes that hold the encoding of a value. `body`: where that is a frame, what its body is taken for."""

    of: Any
    body: type[Wire] | None = None


_ENVELOPE = Carries(SignedBody)
_HEADER = Carries(Header)
_ENVELOPES = Carries(tuple[bytes, ...])

CARRIED: dict[tuple[type, str], Carries] = {
    (PrePrepare, "header"): _HEADER,
    (BlockAnswer, "header"): _HEADER,
    (Packed, "header"): _HEADER,
    (Packed, "payload"): _ENVELOPES,
    (NewView, "view_changes"): Carries(Frame, BODY_OF[Kind.VIEW_CHANGE]),
    (Accusation, "first"): Carries(Frame, BODY_OF[Kind.PREPARE]),
    (Accusation, "second"): Carries(Frame, BODY_OF[Kind.PREPARE]),
    (Accusation, "headers"): _HEADER,
    (ForkProof, "headers"): _HEADER,
    (SignedBody, "body"): Carries(TransactionBody),
}
"""(struct, field) -> what its bytes hold; of a field that is a list, what each of them holds."""

PAYLOADS: dict[Kind, Carries] = {
    Kind.PRE_PREPARE: _ENVELOPES,
    Kind.BLOCK: _ENVELOPES,
    Kind.RELAY: _ENVELOPES,
    Kind.RUN: Carries(tuple[Packed, ...]),
}
"""What the unsigned part of a frame holds. The bytes in a list of envelopes are envelopes."""

OPAQUE: dict[tuple[type, str], str] = {
    (TransactionBody, "operations"): "the application's own",
    (BODY_OF[Kind.COSIGNATURE], "cosignatures"): "signatures, of two lengths",
    (Frame, "payload"): "of kinds that have none",
}
"""Bytes of no fixed length that hold nothing of this protocol's, and whose they are."""

EACH = "[]"


@dataclass(frozen=True, slots=True)
class Open:
    """A step into bytes: read them as a `type`, and write it again."""

    type: Any
    read: Callable[[bytes], Any]


Step = str | int | Open
"""A field's name, EACH or an element's index, or bytes that are opened."""


@dataclass(frozen=True, slots=True)
class Field:
    """A place in a message: how one gets there, and what stands there. `steps` () is the message itself."""

    message: str
    name: str
    steps: tuple[Step, ...]
    type: inspect.Type

    @property
    def last(self) -> str:
        """The name of the field itself; "" for an element or a whole."""
        return self.name.rsplit(".", 1)[-1].removesuffix(EACH)


@cache
def _opener(of: Any) -> Open:
    return Open(of, reader_of(of))


@cache
def fields_of(message: str) -> tuple[Field, ...]:
    """All fields of a kind of message, the whole of it first, in the order in which they are written."""
    if message == ENVELOPE:
        whole: type[Wire] = SignedBody
        inner = [*_within(SignedBody, "", ())]
    else:
        whole, inner = Frame, [*_of_a_frame(Kind[message])]
    found = [Field(message, "", (), inspect.type_info(whole))]
    found += [Field(message, name, steps, of) for name, steps, of in inner]
    return tuple(found)


Found = tuple[str, tuple[Step, ...], inspect.Type]


def _of_a_frame(kind: Kind) -> Iterator[Found]:
    for field in _fields(Frame):
        steps: tuple[Step, ...] = (field.name,)
        yield f"frame.{field.name}", steps, field.type
        if field.name == "body":
            body = BODY_OF[kind]
            yield from _within(body, "", (*steps, _opener(body)))
        elif field.name == "payload" and kind in PAYLOADS:
            yield from _carried(PAYLOADS[kind], "payload", steps)


def _fields(struct: type) -> tuple[inspect.Field, ...]:
    described = inspect.type_info(struct)
    assert isinstance(described, inspect.StructType), "messages are structs"
    return described.fields


def _within(struct: type, prefix: str, steps: tuple[Step, ...]) -> Iterator[Found]:
    for field in _fields(struct):
        name = f"{prefix}.{field.name}" if prefix else field.name
        here = (*steps, field.name)
        yield name, here, field.type
        yield from _below(field.type, name, here, CARRIED.get((struct, field.name)))


def _below(of: inspect.Type, name: str, steps: tuple[Step, ...], carries: Carries | None) -> Iterator[Found]:
    """What is within a value of this type that stands there."""
    match of:
        case inspect.StructType():
            yield from _within(of.cls, name, steps)
        case inspect.UnionType():
            for item in of.types:
                yield from _below(item, name, steps, carries)
        case inspect.VarTupleType():
            element, here = name + EACH, (*steps, EACH)
            if not isinstance(of.item_type, inspect.StructType):
                yield element, here, of.item_type
            yield from _below(of.item_type, element, here, carries)
        case inspect.BytesType() if carries is not None:
            yield from _carried(carries, name, steps)
        case _:
            pass


def _carried(carries: Carries, name: str, steps: tuple[Step, ...]) -> Iterator[Found]:
    here = (*steps, _opener(carries.of))
    if carries.body is not None:
        for field in _fields(Frame):
            yield f"{name}.{field.name}", (*here, field.name), field.type
        yield from _within(carries.body, f"{name}.body", (*here, "body", _opener(carries.body)))
        return
    inside = inspect.type_info(carries.of)
    if isinstance(inside, inspect.StructType):
        yield from _within(carries.of, name, here)
        return
    # A list: of envelopes, or of blocks.
    yield f"{name} as a list", here, inside
    yield from _below(inside, name, here, _ENVELOPE)


class Absent(Exception):
    """There is no such place in this value."""


def places(value: Any, steps: tuple[Step, ...]) -> list[tuple[Step, ...]]:
    """Where in this value these steps lead, element by element; nowhere where something is absent or unreadable."""
    if not steps:
        return [()]
    head, rest = steps[0], steps[1:]
    if isinstance(head, Open):
        try:
            inner = head.read(value)
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
            return []
        return [(head, *more) for more in places(inner, rest)]
    if head == EACH:
        return [(index, *more) for index, item in enumerate(value) for more in places(item, rest)]
    inner = getattr(value, str(head), Absent)
    return [] if inner is Absent else [(head, *more) for more in places(inner, rest)]


def value_at(value: Any, place: tuple[Step, ...]) -> Any:
    """What stands at a place."""
    for step in place:
        if isinstance(step, Open):
            value = step.read(value)
        else:
            value = value[step] if isinstance(step, int) else getattr(value, step)
    return value


Mend = Callable[[Any, str], Any]
"""(struct, which field of it has been changed) -> the struct, signed again where that can be done."""


def changed(value: Any, place: tuple[Step, ...], new: Any, mend: Mend) -> Any:
    """The value with `new` at a place, mended from there up to the whole."""
    if not place:
        return new
    head, rest = place[0], place[1:]
    if isinstance(head, Open):
        return encode(changed(head.read(value), rest, new, mend))
    if isinstance(head, int):
        return (*value[:head], changed(value[head], rest, new, mend), *value[head + 1 :])
    within = changed(getattr(value, head), rest, new, mend)
    return mend(msgspec.structs.replace(value, **{head: within}), head)
