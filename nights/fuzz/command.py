"""`python -m nights.fuzz`: the set by hand."""

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from nights.fuzz.branches import AT_LEAST, measure, share, table
from nights.fuzz.corpus import grow, inputs_of
from nights.fuzz.oracle import Examiner
from nights.fuzz.targets import TARGETS
from nights.fuzz.work import FUZZ, INPUTS, findings_of, run

EXAMPLES = """examples:
  python -m nights.fuzz list                     the targets
  python -m nights.fuzz play 0 4                 units 0 to 3, as the campaign plays them
  python -m nights.fuzz frames FILE              one input again: taken, refused, or what it breaks
  python -m nights.fuzz grow 10000 genesis       keep what 10,000 new inputs reach beyond the corpus
  python -m nights.fuzz --branches               how much of the readers the kept inputs reach
"""


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit code: 0 nothing found, 1 something, 2 usage."""
    parser = argparse.ArgumentParser(
        "python -m nights.fuzz",
        description="Readers of hostile bytes under inputs that coverage finds (atheris).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="?", default="", help="list, play, replay (all kept inputs), or a target's name")
    parser.add_argument("of", nargs="*", help="of play: the first unit, and the one after the last; of a target: files")
    parser.add_argument("--branches", action="store_true", help="measure them (some ten seconds)")
    given = parser.parse_args(arguments)
    if given.branches:
        return _branches()
    match given.what, given.of:
        case "list", []:
            return _list()
        case "grow", [inputs, *names] if inputs.isdigit():
            return _grow(int(inputs), names)
        case "replay", []:
            return _replay()
        case "play", [first, last] if first.isdigit() and last.isdigit() and int(first) < int(last):
            return _play(int(first), int(last))
        case name, [_, *_] as files:
            return _again(name, [Path(file) for file in files])
    parser.print_usage(sys.stderr)
    print("error: not understood\n  hint: --help has examples", file=sys.stderr)
    return 2


def _list() -> int:
    for target in TARGETS.values():
        print(f"{target.name:12} {target.story}")
    return 0


def _play(first: int, last: int) -> int:
    code = 0
    for start in range(first, last, FUZZ.chunk):
        end = min(last, start + FUZZ.chunk)
        done = FUZZ.play(start, end)
        counts = ", ".join(f"{name} {count}" for name, count in sorted(done.counts.items()))
        print(f"units {start} to {end - 1}, {INPUTS} inputs each: {counts}", flush=True)
        for finding in done.findings:
            code = 1
            print(f"FOUND in unit {finding.unit}: {finding.judge}: {finding.detail}\n  again: {finding.replay}")
    return code


def _branches() -> int:
    measured = measure()
    print(table(measured))
    return 0 if share(measured) >= AT_LEAST else 1


def _grow(inputs: int, names: list[str]) -> int:
    code = 0
    for name in names or TARGETS:
        with tempfile.TemporaryDirectory(prefix="bftnode-grown-") as folder:
            seed = secrets.randbelow(2**31)
            for unit in run([(name, seed, inputs)], folder):
                for finding in findings_of(seed, unit, inputs):
                    code = 1
                    print(f"FOUND: {finding.judge}: {finding.detail}\n  again: {finding.replay}")
            candidates = [path.read_bytes() for path in Path(folder).iterdir()]
            print(f"{name}: {grow(TARGETS[name], candidates)} of {len(candidates)} inputs kept", flush=True)
    return code


def _replay() -> int:
    code = 0
    for target in TARGETS.values():
        examiner = Examiner(target)
        for data in inputs_of(target):
            breach = examiner.examine(data)
            if breach is not None:
                code = 1
                print(f"BROKEN: {target.name}: {breach.judge}: {breach.detail}")
    return code


def _again(name: str, files: list[Path]) -> int:
    if name not in TARGETS:
        print(f"error: no target {name}\n  hint: python -m nights.fuzz list", file=sys.stderr)
        return 2
    code = 0
    for file in files:
        try:
            data = file.read_bytes()
        except OSError as error:
            print(f"error: {file}: {error.strerror}\n  hint: name a file with the input", file=sys.stderr)
            return 2
        examiner = Examiner(TARGETS[name])
        breach = examiner.examine(data, traced=True)
        if breach is None:
            print(f"{file}: {'taken' if examiner.taken else 'refused'}, and all holds")
        else:
            code = 1
            print(f"{file}: BROKEN: {breach.judge}: {breach.detail}")
    return code
