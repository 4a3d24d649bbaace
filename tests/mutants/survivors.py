"""The page of the mutants that live: docs/survivors.md, each with the reason why no test has to see it.

A reason is found by rule, where what was changed are words for people, or comes from reasons.toml, by function and by
what a line became: mutants are numbered anew when their function changes.
"""

import ast
import os
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.known import Codes, function_of, verdict

REASONS = Path(__file__).with_name("reasons.toml")
WORDS = "words for people"
UNEXPLAINED = "**none yet**"
SPEAKERS = {"Refused", "Note", "refused", "note"}
"""Calls whose words are for people: their first argument is what programs go by, and is no word."""

INTRODUCTION = """\
# Mutants that live

Every small change that mutmut can think of in `bftnode/protocol` and `bftnode/replica`, one at a time, each played
against the tests that call what it changes (`./scripts/mutants`, which says what is not changed and in which order
tests are played; a mutant that lives for {budget:g} s of them counts as alive). Killed and timed out ones are dead; the
score is their share of all that were played, those that no test calls included. What was seen stays for as long as the
function stays what it is (`tests/mutants/known.json`). Written by `./scripts/mutants --write docs/survivors.md`.
"""


@dataclass(frozen=True)
class Survivor:
    """A mutant that lives."""

    file: str
    function: str  # as people call it: Class.method
    number: int
    was: str  # the changed lines, without their indentation
    became: str
    verdict: str
    reason: str  # "": nobody has given one


def pretty(function: str) -> str:
    """xǁBlockǁencode -> Block.encode; x_decode -> decode."""
    return function[2:].replace("ǁ", ".") if function.startswith("xǁ") else function.removeprefix("x_")


def survivors(folder: Path, mutants: dict[str, Codes]) -> Iterator[Survivor]:
    """In the order of files and of mutmut. `folder` is the one that mutmut calls mutants, with what it generated."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant  # noqa: PLC0415  only ./scripts/mutants installs it

    reasons = _reasons()
    with _inside(folder.parent):
        for file, codes in mutants.items():
            for name, code in codes.items():
                if (word := verdict(code)) not in {"survived", "no test"}:
                    continue
                was, became = changed(get_diff_for_mutant(name, path=file))
                mangled, number = function_of(name)
                function = pretty(mangled)
                reason = reasons.get((f"{file}:{function}", became)) or (WORDS if only_words(was, became) else "")
                yield Survivor(file, function, number, was, became, word, reason)


def changed(diff: str) -> tuple[str, str]:
    """What a unified diff takes away and puts there; lines are joined by a space."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++", "@@"))]
    return _side(lines, "-"), _side(lines, "+")


def only_words(was: str, became: str) -> bool:
    """Whether two lines differ in nothing but string constants that have a space in them (or that are gone), as
    arguments of SPEAKERS after the first, or in an f-string's text."""
    before, after = _parsed(was), _parsed(became)
    if before is None or after is None:
        return False
    return ast.dump(_Silent().visit(before)) == ast.dump(_Silent().visit(after))


class _Silent(ast.NodeTransformer):
    """Takes out what is said to people."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in SPEAKERS:
            node.args = node.args[:1]
            node.keywords = []
        return node


def _parsed(line: str) -> ast.AST | None:
    """A line of a function by itself; the head of a block gets a body."""
    for text in (line, f"{line}\n pass", f"try:\n pass\n{line}\n pass", f"if 1:\n pass\n{line}\n pass", f"({line})"):
        try:
            return ast.parse(text)
        except SyntaxError:
            continue
    return None


def _side(lines: list[str], sign: str) -> str:
    return " ".join(line[1:].strip() for line in lines if line.startswith(sign))


def _reasons() -> dict[tuple[str, str], str]:
    if not REASONS.exists():
        return {}
    entries = tomllib.loads(REASONS.read_text(encoding="utf-8")).get("reason", [])
    return {(entry["of"], line): entry["why"] for entry in entries for line in entry["became"]}


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """mutmut looks for what it generated below where it is."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def page(table: str, found: list[Survivor], budget_s: float) -> str:
    """Markdown."""
    parts = [INTRODUCTION.format(budget=budget_s), table, "", _count(found), ""]
    for file in dict.fromkeys(one.file for one in found):
        parts += [f"## {file}", "", "| function | was | became | why it may live |", "|---|---|---|---|"]
        parts += [
            f"| {one.function} {one.number} | {_code(one.was)} | {_code(one.became)} | {_why(one)} |"
            for one in found
            if one.file == file
        ]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _count(found: list[Survivor]) -> str:
    counted = Counter(WORDS if one.reason == WORDS else bool(one.reason) for one in found)
    return (
        f"{len(found)} live: {counted[WORDS]} changed {WORDS} only, {counted[True]} have a reason of their own, "
        f"{counted[False]} have none yet."
    )


def _why(one: Survivor) -> str:
    return (one.reason or UNEXPLAINED) + (" (no test calls it)" if one.verdict == "no test" else "")


def _code(text: str) -> str:
    short = text if len(text) <= 160 else text[:157] + "..."
    return "`` " + short.replace("|", "\\|") + " ``" if short else ""
