"""Operators: how a value is changed. Small-scope ones by one step, any-scope ones to anything of the value's type.

Small changes find what is nearly right and must not pass; large ones what nobody thought of (ByzzFuzz, section 4.2,
where small-scope mutations found more). What an operator cannot change it says by `Unchanged`: then the mutator looks
for another message.
"""

from collections.abc import Callable, Iterable
from random import Random
from typing import Any, NamedTuple

from msgspec import inspect

UINT64 = 2**64 - 1
"""The largest integer that msgpack can write; ours end at half of it (codec.UInt)."""

LONG = 70
"""More elements than any list of members' words may have."""

MADE_BYTES_MAX = 96
MADE_ITEMS_MAX = 3
"""How large a value is that is made of nothing."""


class Unchanged(Exception):
    """The operator has nothing to change here."""


class Source(NamedTuple):
    """What an operator draws from. `seen`: a value of that type from another message, or Unchanged."""

    dice: Random
    seen: Callable[[inspect.Type], Any]


Change = Callable[[Any, inspect.Type, Source], Any]


def plain(of: inspect.Type) -> inspect.Type:
    """The type itself, where None may stand in its place."""
    if isinstance(of, inspect.UnionType):
        return next(item for item in of.types if not isinstance(item, inspect.NoneType))
    return of


# ---- one step


def _by(step: int) -> Change:
    def change(value: Any, of: inspect.Type, source: Source) -> Any:
        return value + step

    return change


def _flipped(value: Any, of: inspect.Type, source: Source) -> Any:
    return not value


def _bit(value: Any, of: inspect.Type, source: Source) -> Any:
    return _xored(value, source.dice, 1 << source.dice.randrange(8))


def _byte(value: Any, of: inspect.Type, source: Source) -> Any:
    return _xored(value, source.dice, source.dice.randint(1, 255))


def _xored(value: bytes, dice: Random, mask: int) -> bytes:
    if not value:
        raise Unchanged
    at = dice.randrange(len(value))
    return value[:at] + bytes((value[at] ^ mask,)) + value[at + 1 :]


def _shorter(value: Any, of: inspect.Type, source: Source) -> Any:
    return value[:-1]


def _longer(value: Any, of: inspect.Type, source: Source) -> Any:
    return value + source.dice.randbytes(1)


def _dropped(value: Any, of: inspect.Type, source: Source) -> Any:
    at = _index(value, source.dice)
    return (*value[:at], *value[at + 1 :])


def _doubled(value: Any, of: inspect.Type, source: Source) -> Any:
    at = _index(value, source.dice)
    return (*value[:at], value[at], *value[at:])


def _swapped(value: Any, of: inspect.Type, source: Source) -> Any:
    if len(value) < 2:
        raise Unchanged
    one, other = sorted(source.dice.sample(range(len(value)), 2))
    return (*value[:one], value[other], *value[one + 1 : other], value[one], *value[other + 1 :])


def _replaced(value: Any, of: inspect.Type, source: Source) -> Any:
    """One element by another one: of another message, or of this one."""
    at = _index(value, source.dice)
    assert isinstance(of, inspect.VarTupleType), "lists only"
    try:
        new = source.seen(of.item_type)
    except Unchanged:
        new = source.dice.choice(value)
    return (*value[:at], new, *value[at + 1 :])


def _index(value: Any, dice: Random) -> int:
    if not value:
        raise Unchanged
    return dice.randrange(len(value))


def _absent(value: Any, of: inspect.Type, source: Source) -> Any:
    return None


# ---- anything


def _seen(value: Any, of: inspect.Type, source: Source) -> Any:
    return source.seen(of)


def _any(value: Any, of: inspect.Type, source: Source) -> Any:
    return made(of, source.dice)


def _boundary(value: Any, of: inspect.Type, source: Source) -> Any:
    """The least and the most that its type allows, and what is just beyond."""
    match of:
        case inspect.IntType():
            least, most = of.ge or 0, UINT64 if of.le is None else of.le
            return source.dice.choice((least, least - 1, most, min(most + 1, UINT64), 2**31, 2**32, 2**53))
        case inspect.BytesType():
            size = len(value)
            most = of.max_length if of.max_length is not None and of.max_length <= 4096 else size + 1
            return source.dice.choice((b"", bytes(size), b"\xff" * size, b"\x00" * most, b"\x00" * (most + 1)))
        case inspect.VarTupleType():
            many = (value * LONG)[:LONG] if value else ()
            return source.dice.choice(((), many))
        case _:
            raise Unchanged


def _mistyped(value: Any, of: inspect.Type, source: Source) -> Any:
    """Something that is of no such type."""
    return source.dice.choice((None, True, -1, 1.5, "text", b"bytes", (), ((),), {}, {"view": 1}))


def made(of: inspect.Type, dice: Random) -> Any:
    """A value of a type, out of nothing."""
    match of:
        case inspect.IntType():
            least, most = of.ge or 0, UINT64 if of.le is None else of.le
            if most - least < 2**8:
                return dice.randint(least, most)
            return min(max(least, dice.getrandbits(dice.randint(1, 63))), most)
        case inspect.BoolType():
            return dice.random() < 0.5
        case inspect.BytesType():
            least, most = of.min_length or 0, MADE_BYTES_MAX if of.max_length is None else of.max_length
            return dice.randbytes(dice.randint(least, max(least, min(most, MADE_BYTES_MAX))))
        case inspect.StrType():
            return dice.randbytes(dice.randint(0, 8)).hex()
        case inspect.VarTupleType():
            return tuple(made(of.item_type, dice) for _ in range(dice.randint(of.min_length or 0, MADE_ITEMS_MAX)))
        case inspect.StructType():
            return of.cls(*(made(field.type, dice) for field in of.fields))
        case inspect.UnionType():
            return made(dice.choice(of.types), dice)
        case inspect.NoneType():
            return None
        case _:
            raise AssertionError(f"no message has a field of {type(of).__name__} yet: say here how one is made")


OPERATORS: dict[str, Change] = {
    "+1": _by(1),
    "-1": _by(-1),
    "flipped": _flipped,
    "bit": _bit,
    "byte": _byte,
    "shorter": _shorter,
    "longer": _longer,
    "dropped": _dropped,
    "doubled": _doubled,
    "swapped": _swapped,
    "replaced": _replaced,
    "absent": _absent,
    "boundary": _boundary,
    "any": _any,
    "seen": _seen,
    "mistyped": _mistyped,
}

UNSIGNED = "unsigned"
"""Another operator of the field's, and nothing is signed again: each signature stays what it was."""

OMITTED, REPEATED, RENEWED, OLDER = "omitted", "repeated", "renewed", "older"
"""Of a whole message: not said to some; said twice in the same bytes; said again under a fresh number; and an earlier
one of its kind said in its place."""
WHOLE = (OMITTED, REPEATED, RENEWED, OLDER)

SMALL = ("+1", "-1", "flipped", "bit", "byte", "shorter", "longer", "dropped", "doubled", "swapped", "replaced")


def operators_of(of: inspect.Type) -> tuple[str, ...]:
    """What can be done to a field of this type, but for UNSIGNED."""
    match of:
        case inspect.IntType():
            return ("+1", "-1", "boundary", "any", "seen", "mistyped")
        case inspect.BoolType():
            return ("flipped", "mistyped")
        case inspect.BytesType():
            return ("bit", "byte", "shorter", "longer", "boundary", "any", "seen", "mistyped")
        case inspect.StrType():
            return ("any", "seen", "mistyped")
        case inspect.VarTupleType():
            return ("dropped", "doubled", "swapped", "replaced", "boundary", "any", "seen", "mistyped")
        case inspect.StructType():
            return ("any", "seen", "mistyped")
        case inspect.UnionType():
            return ("absent", *operators_of(plain(of)))
        case _:
            raise AssertionError(f"no message has a field of {type(of).__name__} yet: say here what is done to one")


def apply(operator: str, value: Any, of: inspect.Type, source: Source) -> Any:
    """The value, changed; raises Unchanged where it is the same afterwards."""
    new = OPERATORS[operator](value, plain(of), source)
    if new == value and type(new) is type(value):
        raise Unchanged
    return new


def first_that_changes(operators: Iterable[str], value: Any, of: inspect.Type, source: Source) -> Any:
    """By one of these, in this order."""
    for operator in operators:
        try:
            return apply(operator, value, of, source)
        except Unchanged:
            continue
    raise Unchanged
