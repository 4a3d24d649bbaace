"""The set of all targets in numbered units: unit u plays one target, with the seed u, for INPUTS inputs."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256

from nights.fuzz.corpus import CHECKOUT, FOUND
from nights.fuzz.player import Unit
from nights.fuzz.schedule import SCHEDULE
from simulations.work import Done, Finding

INPUTS = 10_000
"""In a unit."""

UNIT_SECONDS_MAX = 300.0
"""By the wall clock, beside other work on a slow machine; a unit takes some three. What takes longer hangs."""

LESS = "a unit is as many inputs as it says"


class Fuzz:
    """The set."""

    name = "fuzz"
    story = "10,000 inputs for one reader of bytes, found by coverage (atheris) from one seed"
    units = None
    full = 1000
    chunk = 10
    sources = ("nights/fuzz/**/*.py", "tests/fuzz/corpus/*/*", "tests/vectors/**/*")

    def play(self, first: int, last: int) -> Done:
        """These units; what is found is kept in tests/fuzz/found, where a test plays it for ever."""
        counts: Counter[str] = Counter(runs=0, taken=0)
        findings: list[Finding] = []
        for number, unit in zip(range(first, last), played(first, last), strict=True):
            counts["runs"] += unit.inputs
            counts["taken"] += unit.taken
            counts[f"inputs of {unit.target}"] += unit.inputs
            findings += findings_of(number, unit, INPUTS)
        return Done(last - first, counts, tuple(findings))


FUZZ = Fuzz()


def findings_of(number: int, unit: Unit, inputs: int) -> Iterator[Finding]:
    """What broke, each with the file that shows it; and that the unit did less than it stands for."""
    for judge, detail, raw in unit.breaches:
        file = FOUND / unit.target / sha256(bytes.fromhex(raw)).hexdigest()[:16]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes.fromhex(raw))
        replay = f"python -m nights.fuzz {unit.target} {file.relative_to(CHECKOUT)}"
        yield Finding(number, judge, f"{unit.target}: {detail}", replay)
    if unit.inputs != inputs:
        detail = f"{unit.target}: {unit.inputs} of {inputs} inputs; {unit.ended}"
        yield Finding(number, LESS, detail, f"python -m nights.fuzz play {number} {number + 1}")


def played(first: int, last: int) -> Iterator[Unit]:
    """Units first <= unit < last, in one process that forks for each."""
    asked = [(SCHEDULE[unit % len(SCHEDULE)], unit, INPUTS) for unit in range(first, last)]
    return run(asked)


def run(asked: list[tuple[str, int, int]], keep: str = "") -> Iterator[Unit]:
    """(target, seed, inputs) each, in a player of their own. Raises RuntimeError where that ends too early."""
    order = json.dumps({"units": asked, "seconds_max": UNIT_SECONDS_MAX, "keep": keep})
    # The same inputs for the same seed: libFuzzer sees where dictionaries and sets lead.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    with subprocess.Popen(
        [sys.executable, "-m", "nights.fuzz.player"],
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as player:
        assert player.stdin is not None, "asked for"
        assert player.stdout is not None, "asked for"
        assert player.stderr is not None, "asked for"
        try:
            player.stdin.write(order)
            player.stdin.close()
            for _ in asked:
                line = player.stdout.readline()
                if not line:
                    raise RuntimeError(f"the player ended: {player.stderr.read()[-2000:]}")
                said = json.loads(line)
                said["breaches"] = [tuple(one) for one in said["breaches"]]
                yield Unit(**said)
        finally:
            player.kill()
