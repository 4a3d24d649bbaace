"""The documented command, `./scripts/hunt`, in a copy, and whether what it found is found again by what it printed."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.exam.planting import CHECKOUT, Patch, plant

LIMIT_S = 600
"""A hunt that has found nothing by then is ended, and so is one that is played again."""

TIMES = ".test-times"
BYTECODE = "PYTHONDONTWRITEBYTECODE"

PLAYED = ("tests/simulation", "tests/protocol", "tests/client", "tests/replica", "tests/apps")
"""Where a hunt's tests are."""

_VIOLATION = re.compile(
    r"^E .*?Violation(?:: )?\(?['\"]?([a-z-]+)['\"]?[,:] ?(.{0,90})|VIOLATED ([a-z-]+): (.{0,90})", re.MULTILINE
)
_RAISED = re.compile(r"^E +(\S.{0,90})", re.MULTILINE)
_FOUND = re.compile(
    r"^Found after ([\d.]+) s by (\w+): (.*)\nagain: (.*)\nCPU: worlds ([\d.]+) s, \w+ ([\d.]+) s", re.M
)
_NOTHING = re.compile(r"^Nothing found in ([\d.]+) s.*CPU: worlds ([\d.]+) s, \w+ ([\d.]+) s", re.MULTILINE)
_OURS = {"python": (), "./scripts/test": ("-m", "pytest", "-q", "-p", "no:cacheprovider")}
"""How a printed command is played by this Python, which has what it needs."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hunt made of a copy."""

    patch: str  # Patch.digest; empty: the core as it is
    found: bool
    seconds: float
    worlds_s: float  # of CPU
    conversations_s: float  # of CPU
    by: str = ""  # which half; "a glance": the tests that are about it, alone, and conversations_s is what they took
    test: str = ""
    judge: str = ""
    again: str = ""
    replayed: bool = False  # `again` showed the same
    whole: bool = True  # it was not ended by the limit

    @property
    def cpu_s(self) -> float:
        """Of the half that found it: so long it takes on a core of its own."""
        return self.worlds_s if self.by == "worlds" else self.conversations_s


class Broken(Exception):
    """The hunt said something that is none of its endings."""


def compile_tests() -> None:
    """Have the checkout's bytecode written, which comes along into each copy: a hunt begins as it does where tests have
    been played before, and compiles what is changed."""
    collected = [sys.executable, "-m", "pytest", "--collect-only", *PLAYED]
    subprocess.run(collected, cwd=CHECKOUT, env=_environment(), stdout=subprocess.DEVNULL, check=True)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != BYTECODE}


def hunt(patch: Patch | None, limit_s: float = LIMIT_S, reached: dict[str, float] | None = None) -> Answer:
    """Play the command in a copy, with the patch in it if there is one. `reached` takes, for each test that was played,
    how much CPU (s) its half had used when it ended. Raises BadPatch and Broken."""
    with tempfile.TemporaryDirectory(prefix="bftnode-exam-") as folder:
        copy = Path(folder)
        plant(patch, copy)
        said = _run(copy, ["scripts/hunt", "--limit", str(limit_s)], 2 * limit_s + 60)
        if reached is not None:
            reached.update(_times(copy / TIMES))
        digest = "" if patch is None else patch.digest
        if nothing := _NOTHING.search(said):
            seconds, worlds, conversations = map(float, nothing.groups())
            return Answer(digest, False, seconds, worlds, conversations, whole="which was the limit" not in nothing[0])
        found = _FOUND.search(said)
        if found is None:
            raise Broken(said[-2000:])
        again = found[4]
        judge = judge_of(said)
        script, *rest = shlex.split(again)
        told = _run(copy, [*_OURS[script], *rest], limit_s)
        same = judge_of(told) == judge
        return Answer(
            digest, True, float(found[1]), float(found[5]), float(found[6]), found[2], found[3], judge, again, same
        )


_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)


def _times(file: Path) -> dict[str, float]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {test: float(cpu_s) for cpu_s, _, test in (line.partition(" ") for line in lines)}


def judge_of(said: str) -> str:
    """The judge that spoke and what it said, the same by whomever it is told; else what was raised last."""
    if violation := _VIOLATION.search(said):
        name, detail = (violation[1], violation[2]) if violation[1] else (violation[3], violation[4])
        # A test that shows a violation shows its representation; and the trace stands behind it only in a story.
        detail = re.split(r" \(trace |['\"]\)", detail.strip().strip("'\""))[0]
        return f"{name}: {detail}"
    raised = _RAISED.findall(said)
    return re.sub(r"0x[0-9a-f]+", "0x", raised[-1]) if raised else ""


def _run(copy: Path, arguments: list[str], limit_s: float) -> str:
    """What a command of this copy prints; nothing where it takes too long."""
    ours = {"PYTHONPATH": str(copy), "BFTNODE_VENV": sys.prefix, "BFTNODE_TEST_TIMES": str(copy / TIMES)}
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=copy,
        env={**_environment(), **ours},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=limit_s)[0]
    except subprocess.TimeoutExpired:
        return ""
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate()
