"""The page of the mutants that live: docs/survivors.md, each with the reason why no test has to see it.

A reason is found by rule (RULES), or comes from reasons.toml, by function and by what a line became: mutants are
numbered anew when their function changes.
"""

import ast
import copy
import os
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.known import ALIVE, Codes, function_of, verdict

REASONS = Path(__file__).with_name("reasons.toml")
WORDS = "words for people"
UNEXPLAINED = "**none yet**"

INTRODUCTION = """\
# Mutants that live

Every small change that mutmut can think of in `bftnode/protocol` and `bftnode/replica`, one at a time, each played
against the tests that call what it changes (`./scripts/mutants`, which says what is not changed and in which order
tests are played; a mutant that lives for {budget:g} s of them, or for what `--budget` gave, counts as alive). Killed
and timed out ones are dead; the score is their share of all that were played, those that no test calls included.
What was seen stays for as long as the function stays what it is (`tests/mutants/known.json`), with whatever budget
it was. Written by `./scripts/mutants --write docs/survivors.md`.
"""


@dataclass(frozen=True)
class Survivor:
    """A mutant that lives."""

    mutant: str  # mutmut's name
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
                if (word := verdict(code)) not in ALIVE:
                    continue
                was, became = changed(get_diff_for_mutant(name, path=file))
                mangled, number = function_of(name)
                function = pretty(mangled)
                reason = reasons.get((f"{file}:{function}", became)) or explained(was, became)
                yield Survivor(name, file, function, number, was, became, word, reason)


def changed(diff: str) -> tuple[str, str]:
    """What a unified diff takes away and puts there; lines are joined by a space."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++", "@@"))]
    return _side(lines, "-"), _side(lines, "+")


def explained(was: str, became: str) -> str:
    """The reason by rule, or ""."""
    before, after = _parsed(was), _parsed(became)
    if before is None or after is None:
        return ""
    for reason, rule in RULES.items():
        if ast.dump(rule().visit(copy.deepcopy(before))) == ast.dump(rule().visit(copy.deepcopy(after))):
            return reason
    return ""


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


class _Silent(ast.NodeTransformer):
    """Takes out what is said to people: a refusal's second argument (programs go by the first), what other errors say,
    sentences that are given a name, and comments that are written into files."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if _called(node) in {"Refused", "Denied", "from_decimal", "from_base64", "_unproved"}:
            node.args, node.keywords = node.args[:1], []
        if _called(node) in {"RuntimeError", "Unreadable", "malformed"}:
            node.args = []
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("# ...") if str(node.value).startswith("# ") else node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.IfExp):
            node.value.body, node.value.orelse = _unsaid(node.value.body), _unsaid(node.value.orelse)
        node.value = _unsaid(node.value)
        return node


def _unsaid(value: ast.expr) -> ast.expr:
    return ast.Constant("...") if isinstance(value, ast.Constant) and " " in str(value.value) else value


class _Unstrict(ast.NodeTransformer):
    """Takes `strict` from zip."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if _called(node) == "zip":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "strict"]
        return node


class _Default(ast.NodeTransformer):
    """Takes out what Python, or msgspec, does without being told, and writes names of encodings in one way."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = _called(node)
        if name in {"to_bytes", "from_bytes"} and _is(node.args[-1], "big"):
            node.args = node.args[:-1]
        if name in {"convert", "Decoder"}:
            node.keywords = [item for item in node.keywords if item.arg != "strict" or not _is(item.value, True)]
        if name in {"encode", "decode"} and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
            node.args = [ast.Constant(str(node.args[0].value).lower())]
        return node


def _is(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is type(value) and node.value == value


RULES: dict[str, type[ast.NodeTransformer]] = {
    WORDS: _Silent,
    "`strict` states a belief, as an assertion does": _Unstrict,
    "the same: it is what is done without being told": _Default,
}
"""Reason -> what makes a line and its mutant equal where it holds."""


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
    by_rule = Counter(one.reason for one in found if one.reason in RULES)
    own = sum(bool(one.reason) and one.reason not in RULES for one in found)
    parts = [f"{count} {reason}" for reason, count in by_rule.items()]
    parts += [f"{own} have a reason of their own", f"{sum(not one.reason for one in found)} have none yet"]
    return f"{len(found)} live. Why: " + "; ".join(parts) + "."


def _why(one: Survivor) -> str:
    return (one.reason or UNEXPLAINED) + (" (no test calls it)" if one.verdict == "no test" else "")


def _code(text: str) -> str:
    short = text if len(text) <= 160 else text[:157] + "..."
    return "`` " + short.replace("|", "\\|") + " ``" if short else ""
