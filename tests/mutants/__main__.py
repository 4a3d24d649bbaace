"""Every small change that mutmut can think of in the core: `./scripts/mutants [--minutes M] [--again] [--write FILE]`.

mutmut (3.8.1, requirements/mutants.txt) changes functions of bftnode/protocol and bftnode/replica, one place at a time,
and plays the tests that call them (soonest.py says in which order, and how many). It works in .mutants, a copy of the
checkout. What is known is kept in known.json: a slice goes on where the last one ended, here or in another checkout,
and a function that has changed is asked about again. What it cannot change: module level (constants, Struct and
dataclass fields), decorated functions (properties among them), enums, and lines that begin with `assert`, which state
beliefs and decide nothing.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.mutants.known import ALIVE, Codes, forget, load, remember, restore, verdict
from tests.mutants.soonest import BUDGET, BUDGET_S, STATISTICS, shorten
from tests.mutants.survivors import page, survivors

CHECKOUT = Path(__file__).resolve().parent.parent.parent
WORK = CHECKOUT / ".mutants"
MUTANTS = WORK / "mutants"
"""Where mutmut puts the changed modules, and what it knows of them."""
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
    -p
    no:unraisableexception
pytest_add_cli_args_test_selection=
    {tests}
timeout_multiplier=2.5
timeout_constant=4.0
use_git_change_detection=false
on_dependency_change=ignore
"""


def copy() -> None:
    """Bring .mutants up to date; a file that has not changed keeps its time, so what is known of it stays known."""
    # Where mutmut will put the changed modules: what is not there when Python starts it does not look for again.
    MUTANTS.mkdir(parents=True, exist_ok=True)
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


def play(minutes: float, names: list[str], children: int, budget_s: float) -> int:
    """A slice. mutmut ends in order when it is interrupted; its exit code."""
    environment = {**os.environ, "PYTHONPATH": str(MUTANTS), BUDGET: str(budget_s)}
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(children), *names],
        cwd=WORK,
        env=environment,
        start_new_session=True,
    )
    try:
        return process.wait(60 * minutes)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.send_signal(signal.SIGINT)
        return process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def unexplained(mutants: dict[str, Codes]) -> list[str]:
    """Those that lived and have no reason; all that lived where what mutmut changed is not at hand yet."""
    try:
        return [one.mutant for one in survivors(MUTANTS, mutants) if not one.reason]
    except FileNotFoundError:
        return [name for codes in mutants.values() for name, code in codes.items() if verdict(code) in ALIVE]


def table(mutants: dict[str, Codes]) -> str:
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
    cores = os.cpu_count() or 1
    parser.add_argument("--children", type=int, default=cores, metavar="N", help=f"mutants at a time ({cores})")
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN", help="mutants by mutmut's names")
    parser.add_argument(
        "--again", action="store_true", help="also those that lived without a reason: tests may have come"
    )
    parser.add_argument(
        "--budget", type=float, default=BUDGET_S, metavar="S", help=f"so many seconds of tests a mutant ({BUDGET_S:g})"
    )
    parser.add_argument("--count", action="store_true", help="play none: say how far it is")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page of those that live")
    options = parser.parse_args()
    if options.write is not None and not options.write.parent.is_dir():
        print(f"error: {options.write} cannot be written: {options.write.parent} is no directory", file=sys.stderr)
        return 2
    copy()
    restore(MUTANTS)
    if not options.count:
        if options.again:
            print(f"{forget(MUTANTS, unexplained(load(MUTANTS)))} lived without a reason and are played again")
        shorten(MUTANTS / STATISTICS, options.budget)
        code = play(options.minutes, options.only, options.children, options.budget)
        remember(MUTANTS)
        if code not in (0, -signal.SIGINT):
            print(f"error: mutmut ended with {code}; its message is above", file=sys.stderr)
            return 1
    mutants = load(MUTANTS)
    print(table(mutants))
    if options.write is not None:
        try:
            found = list(survivors(MUTANTS, mutants))
        except FileNotFoundError:
            print("error: this checkout has no mutants yet: play some first, without --count", file=sys.stderr)
            return 2
        options.write.write_text(page(table(mutants), found, BUDGET_S), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
