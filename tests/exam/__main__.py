"""An exam for the simulator's tests: `./scripts/exam [--only NAME] [--limit SECONDS] [--write docs/exam.md]`.

Each bug of bugs.toml is one changed line of the core. It is planted alone, in a copy of the checkout, and there the
documented command runs (`./scripts/test` with EXAMINED and -x: first worlds, then conversations). The bug is caught
when that command fails; the table says after how many seconds and who spoke. An unchanged copy is examined first: it
has to pass, or every "caught" would mean nothing.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
BUGS = Path(__file__).with_name("bugs.toml")
COPIED = ("bftnode", "simulations", "tests", "docs", "scripts", "configs", "pyproject.toml", "README.md")
EXAMINED = ("tests/simulation", "tests/replica", "tests/protocol", "tests/apps")
COMMAND = ("-m", "pytest", *EXAMINED, "-x", "-q", "-p", "no:cacheprovider")

LIMIT_S = 600
"""A run that has not failed by then has not caught the bug; it is ended."""

_VIOLATION = re.compile(r"Violation(?:: )?\(?'?([a-z-]+)'?[,:] ?(.{0,90})|VIOLATED ([a-z-]+): (.{0,90})")
_FAILED = re.compile(r"^FAILED (\S+)|^ERROR (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Bug:
    """One line of the core, changed."""

    name: str
    topic: str
    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the tests said to a copy."""

    failed: bool
    seconds: float
    test: str
    judge: str


class BadBug(Exception):
    """The line that a bug changes is not there, or not only once."""


def bugs() -> list[Bug]:
    """All of bugs.toml, in its order."""
    return [Bug(**item) for item in tomllib.loads(BUGS.read_text(encoding="utf-8"))["bug"]]


def planted(source: str, bug: Bug) -> str:
    """`source` with the bug in it. Raises BadBug."""
    if source.count(bug.old) != 1:
        raise BadBug(f"{bug.name}: its line stands {source.count(bug.old)} times in {bug.file}; mend bugs.toml")
    return source.replace(bug.old, bug.new)


def examine(bug: Bug | None, limit_s: float) -> Answer:
    """Run the command in a copy of the checkout, with the bug in it if there is one. Raises BadBug."""
    with tempfile.TemporaryDirectory(prefix="bftnode-exam-") as folder:
        copy = Path(folder)
        for name in COPIED:
            source = CHECKOUT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        if bug is not None:
            file = copy / bug.file
            file.write_text(planted(file.read_text(encoding="utf-8"), bug), encoding="utf-8")
        began = time.monotonic()
        # A session of its own, so that the workers of a swarm end with it.
        process = subprocess.Popen(
            [sys.executable, *COMMAND],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=limit_s)
            failed = process.returncode != 0
        except subprocess.TimeoutExpired:
            failed, said = False, ""
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        return Answer(failed, time.monotonic() - began, *_who_spoke(said))


def _who_spoke(said: str) -> tuple[str, str]:
    """(the test that failed, the judge and what it said)."""
    test = _FAILED.search(said)
    violation = _VIOLATION.search(said)
    if violation is not None:
        name, detail = (violation[1], violation[2]) if violation[1] else (violation[3], violation[4])
        judge = f"{name}: {detail.strip()}"
    else:
        raised = re.findall(r"^E +(\S.{0,90})", said, re.MULTILINE)
        judge = raised[-1] if raised else ""
    return (test[1] or test[2]) if test else "", judge


def table(answers: list[tuple[Bug, Answer]]) -> str:
    """Markdown."""
    lines = ["| bug | topic | caught after | by | judge |", "|---|---|---|---|---|"]
    for bug, answer in answers:
        after = f"{answer.seconds:.0f} s" if answer.failed else f"**not in {answer.seconds:.0f} s**"
        test = answer.test.rsplit("/", 1)[-1].replace("|", "/")
        judge = answer.judge.replace("|", "/")
        lines.append(f"| {bug.name} | {bug.topic} | {after} | {test} | {judge} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./scripts/exam", description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME", action="append", help="this bug (may be repeated)")
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="SECONDS", help=f"default {LIMIT_S}")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table, with how it came about")
    arguments = parser.parse_args()
    if arguments.write is not None and not arguments.write.parent.is_dir():
        print(f"error: {arguments.write} cannot be written: {arguments.write.parent} is no directory", file=sys.stderr)
        return 2
    chosen = [bug for bug in bugs() if not arguments.only or bug.name in arguments.only]
    unknown = set(arguments.only or ()) - {bug.name for bug in chosen}
    if unknown or not chosen:
        print(f"error: no bug is called {', '.join(sorted(unknown))}; see {BUGS}", file=sys.stderr)
        return 2
    try:
        print("the core as it is ...", file=sys.stderr, flush=True)
        sound = examine(None, arguments.limit)
        if sound.failed or sound.seconds >= arguments.limit:
            print(f"error: without any bug the tests fail: {sound.test} {sound.judge}", file=sys.stderr)
            return 1
        print(f"  passes in {sound.seconds:.0f} s", file=sys.stderr, flush=True)
        answers = []
        for number, bug in enumerate(chosen, 1):
            answer = examine(bug, arguments.limit)
            answers.append((bug, answer))
            verdict = f"caught: {answer.judge}" if answer.failed else "NOT CAUGHT"
            print(
                f"  {number}/{len(chosen)} {bug.name}: {answer.seconds:.0f} s, {verdict}", file=sys.stderr, flush=True
            )
    except BadBug as bad:
        print(f"error: {bad}", file=sys.stderr)
        return 2
    caught = sum(answer.failed for _, answer in answers)
    summary = (
        f"{caught} of {len(answers)} bugs caught by `./scripts/test {' '.join(EXAMINED)} -x`, "
        f"which passes in {sound.seconds:.0f} s without any."
    )
    print(table(answers))
    print(summary)
    if arguments.write is not None:
        text = f"# The exam\n\n{summary} Written by `./scripts/exam --write`.\n\n{table(answers)}\n"
        arguments.write.write_text(text, encoding="utf-8")
    return 0 if caught == len(answers) else 1


if __name__ == "__main__":
    sys.exit(main())
