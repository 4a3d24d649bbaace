"""Values of a wire type, made of what its annotations allow: the least and the most of every field."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

ITEMS_MAX = 3
"""In arrays: enough to be cut, doubled and put in another order."""


def examples_of(kind: Any) -> Iterator[Any]:
    """Two values of a Struct: one of the least that is allowed, and one of more."""
    for more in (False, True):
        yield msgspec.convert(_value(inspect.type_info(kind), more), kind, builtin_types=(bytes,))


def _value(info: inspect.Type, more: bool) -> Any:
    match info:
        case inspect.IntType():
            return (info.le if info.le is not None else 1000) if more else info.ge or 0
        case inspect.BytesType():
            least = info.min_length or 0
            return b"\x07" * (max(least, min(info.max_length or 40, 40)) if more else least)
        case inspect.StrType():
            return "busy" if more else ""
        case inspect.BoolType():
            return more
        case inspect.VarTupleType():
            count = min(info.max_length or ITEMS_MAX, ITEMS_MAX) if more else info.min_length or 0
            return [_value(info.item_type, more) for _ in range(count)]
        case inspect.StructType():
            tag = [] if info.tag is None else [info.tag]
            return [*tag, *(_value(field.type, more) for field in info.fields)]
        case inspect.UnionType():
            kinds = [one for one in info.types if not isinstance(one, inspect.NoneType)]
            return _value(kinds[0], more) if more or len(kinds) == len(info.types) else None
        case _:
            raise AssertionError(f"no example of {info}")
