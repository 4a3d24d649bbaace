"""The matrix: message x field x operator. Each cell that can occur has its seeds; one that cannot says why."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from bftnode.protocol.messages import Kind
from simulations.mutation.operators import UNSIGNED, WHOLE, operators_of
from simulations.mutation.shapes import MESSAGES, PAYLOADS, Field, fields_of

_EMPTY = ("bit", "byte", "shorter")

EXCLUDED: dict[tuple[str, str, str], str] = {
    (
        Kind.COSIGNATURE.name,
        "cosignatures",
        "swapped",
    ): "members of the small world cosign in one kind: there is one",
    **{
        (message, field, operator): "correct members put no payload there, and there is nothing to take from nothing"
        for operator in _EMPTY
        for message, field in (
            *((kind.name, "frame.payload") for kind in Kind if kind not in PAYLOADS),
            (Kind.NEW_VIEW.name, "view_changes[].payload"),
            (Kind.EVIDENCE.name, "first.payload"),
            (Kind.EVIDENCE.name, "second.payload"),
        )
    },
}
"""(message, field, operator) -> why that cannot occur."""

INTRODUCTION = """What `./scripts/simulate mutate` does to a liar's messages (decision 023). A field's name is the way
to it: `[]` is any element, and what bytes hold is named as if it stood there. A number says how often a correct member
took a step with such a message; for ENVELOPE, how often one was opened at a correct member's door."""

SIGNATURES = "what stands for a signature is never signed again: each of its operators leaves it as unsigned does"


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A kind of message, a field of it, and what is done to it."""

    message: str
    field: str
    operator: str

    def __str__(self) -> str:
        return f"{self.message} {self.field or '(whole)'} {self.operator}"


@cache
def cells() -> tuple[Cell, ...]:
    """All that can occur, in a fixed order."""
    return tuple(cell for cell in _all() if why_not(cell) is None)


@cache
def _all() -> tuple[Cell, ...]:
    return tuple(
        Cell(message, field.name, operator)
        for message in MESSAGES
        for field in fields_of(message)
        for operator in operators_on(field)
    )


@cache
def field_of(cell: Cell) -> Field:
    """Where a cell's operator works."""
    return next(field for field in fields_of(cell.message) if field.name == cell.field)


def operators_on(field: Field) -> tuple[str, ...]:
    """What is done to a field; the whole message has operators of its own."""
    return WHOLE if not field.steps else (*operators_of(field.type), UNSIGNED)


def why_not(cell: Cell) -> str | None:
    """Why a cell cannot occur; None where it can."""
    if cell.operator == UNSIGNED and field_of(cell).last == "signature":
        return SIGNATURES
    return EXCLUDED.get((cell.message, cell.field, cell.operator))


def table(counts: Mapping[Cell, int] = MappingProxyType({}), how: str = "") -> str:
    """The matrix in Markdown: a table a message, a row a field; what is done to it, and how often that was heard.
    `how`: a sentence on how the counts came about."""
    lines = ["# Every field of every message, changed", "", INTRODUCTION, *(["", how] if how else []), ""]
    for message in MESSAGES:
        lines += [f"## {message}", "", "| field | operator: heard so often by an honest member |", "|---|---|"]
        for field in fields_of(message):
            parts = []
            for operator in operators_on(field):
                cell = Cell(message, field.name, operator)
                if why_not(cell) is None:
                    parts.append(f"{operator}: {counts.get(cell, 0) or '**none**'}")
            lines.append(f"| `{field.name or '(whole)'}` | {', '.join(parts)} |")
        lines.append("")
    reasons = dict.fromkeys(reason for reason in map(why_not, _all()) if reason is not None)
    lines += ["## What cannot occur", ""]
    for reason in reasons:
        count = sum(why_not(cell) == reason for cell in _all())
        lines.append(f"- {count} cells: {reason}.")
    return "\n".join(lines) + "\n"
