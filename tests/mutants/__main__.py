"""Every small change that mutmut can think of in the core: `./scripts/mutants [--minutes M] [--count]`.

mutmut (3.8.1, requirements/mutants.txt) changes functions of bftnode/protocol and bftnode/replica, one place at a time,
and plays the tests that call them (soonest.py says in which order, and how many). It works in .mutants, a copy of the
checkout in which what is known stays known: a slice goes on where the last one ended, and a function that has changed
is asked about again. What it cannot change: module level (constants, Struct and dataclass fields), decorated functions
(properties among them), enums, and lines that begin with `assert`, which state beliefs and decide nothing.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
WORK = CHECKOUT / ".mutants"
COPIED = ("bftnode", "simulations", "theatre", "tests", "docs", "scripts", "configs", "pyproject.toml", "README.md")
TESTS = (
    "tests/protocol",
    "tests/replica",
    "tests/node",
    "tests/net",
    "tests/client",
    "tests/api",
    "tests/worlds/test_incident.py",
    "tests/simulation/test_scenarios.py",
)

SETTINGS = """\
[mutmut]
source_paths=
    bftnode
only_mutate=
    bftnode/protocol/*
    bftnode/replica/*
do_not_mutate_patterns=
    ^\\s*assert
    ^DOCTEST
also_copy=
    simulations
    theatre
    docs
    scripts
    configs
    README.md
pytest_add_cli_args=
    -p
    tests.mutants.soonest
    -p
    no:cacheprovider
pytest_add_cli_args_test_selection=
    {tests}
timeout_multiplier=1.5
timeout_constant=4.0
use_git_change_detection=false
on_dependency_change=ignore
"""

VERDICTS = {
    None: "not played",
    2: "not played",  # interrupted
    0: "survived",
    5: "no test",
    33: "no test",
    34: "skipped",
    **dict.fromkeys((-24, 24, 36, 152, 255), "timeout"),
}
"""What mutmut's exit codes mean; all others (a test that failed, a signal) mean that the mutant was killed."""


def copy() -> None:
    """Bring .mutants up to date; a file that has not changed keeps its time, so what is known of it stays known."""
    # Where mutmut will put the changed modules: what is not there when Python starts it does not look for again.
    (WORK / "mutants").mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source = CHECKOUT / name
        paths = sorted(source.rglob("*")) if source.is_dir() else [source]
        for path in paths:
            target = WORK / path.relative_to(CHECKOUT)
            if path.is_dir() or "__pycache__" in path.parts:
                continue
            if not target.exists() or target.read_bytes() != path.read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    (WORK / "setup.cfg").write_text(SETTINGS.format(tests="\n    ".join(TESTS)), encoding="utf-8")


def play(minutes: float, names: list[str]) -> int:
    """A slice. mutmut ends in order when it is interrupted; its exit code."""
    environment = {**os.environ, "PYTHONPATH": str(WORK / "mutants")}
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", "1", *names],
        cwd=WORK,
        env=environment,
        start_new_session=True,
    )
    try:
        return process.wait(60 * minutes)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        return process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def known() -> dict[str, dict[str, int | None]]:
    """File -> mutant -> what mutmut wrote down of it; None: not played yet."""
    found = {}
    for path in sorted((WORK / "mutants").rglob("*.meta")):
        file = str(path.relative_to(WORK / "mutants"))[: -len(".meta")]
        found[file] = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return {file: mutants for file, mutants in found.items() if mutants}


def verdict(code: int | None) -> str:
    """One word for an exit code of mutmut's."""
    return VERDICTS.get(code, "killed")


def table(mutants: dict[str, dict[str, int | None]]) -> str:
    """Markdown: a line a file, and their sum."""
    columns = ("killed", "timeout", "survived", "no test", "not played")
    lines = [f"| file | mutants | {' | '.join(columns)} | score |", "|---|" + "---|" * (len(columns) + 2)]
    total: Counter[str] = Counter()
    for file, verdicts in mutants.items():
        counted = Counter(map(verdict, verdicts.values()))
        total += counted
        lines.append(_line(file, counted, columns))
    lines.append(_line("**all**", total, columns))
    return "\n".join(lines)


def _line(name: str, counted: Counter[str], columns: tuple[str, ...]) -> str:
    played = counted.total() - counted["not played"] - counted["skipped"]
    dead = counted["killed"] + counted["timeout"]
    score = f"{100 * dead / played:.0f} %" if played else ""
    return f"| {name} | {counted.total()} | {' | '.join(str(counted[column]) for column in columns)} | {score} |"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./scripts/mutants", description=__doc__.splitlines()[0], epilog="example: ./scripts/mutants --minutes 20"
    )
    parser.add_argument("--minutes", type=float, default=20, metavar="M", help="end the slice after so long (20)")
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN", help="mutants by mutmut's names")
    parser.add_argument("--count", action="store_true", help="play none: say how far it is")
    options = parser.parse_args()
    if not options.count:
        copy()
        code = play(options.minutes, options.only)
        if code not in (0, -signal.SIGINT):
            print(f"error: mutmut ended with {code}; its message is above", file=sys.stderr)
            return 1
    print(table(known()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
