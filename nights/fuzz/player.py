"""The process in which libFuzzer runs: it instruments bftnode once, and forks for every unit.

    python -m nights.fuzz.player TARGET SEED INPUTS [--keep DIRECTORY]

A unit is INPUTS inputs, counted where they are examined, in memory that outlives the child. libFuzzer may end a child
(out of memory, out of time, a crash of the interpreter): its input is kept then, and the unit has done less.
"""

import json
import mmap
import os
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

RSS_MEGABYTES_MAX = 1024
INPUT_SECONDS_MAX = 20
"""Of one input, by the wall clock, when libFuzzer ends the process: what hangs. Slowness is the oracle's to see."""

TRACED_EVERY = 512
"""Of so many inputs one has its allocations counted."""

BYTES_OF_LIBFUZZER = 0.2
"""The share of inputs that libFuzzer changes in its own ways, by bytes; the others keep their structure."""

BREACHES_MAX = 5
"""Of different kinds, from one unit; further ones are the same story or come again."""

_COUNTS = struct.Struct("<QQ")  # inputs, and how many of them were taken


@dataclass(frozen=True, slots=True)
class Unit:
    """What one unit did. `digest` is of all its inputs in order: equal where the same were played."""

    target: str
    seed: int
    inputs: int
    taken: int
    digest: str
    breaches: list[tuple[str, str, str]]  # judge, detail, input in hexadecimal digits
    ended: str  # empty, or how the process ended before its time


def target_of(name: str, *, instrumented: bool) -> Any:
    """A target by its name; the readers are imported now."""
    if instrumented:
        import atheris  # noqa: PLC0415 - nothing else needs it

        with atheris.instrument_imports(include=["bftnode"]):
            from nights.fuzz.targets import TARGETS  # noqa: PLC0415
    else:
        from nights.fuzz.targets import TARGETS  # noqa: PLC0415
    return TARGETS[name]


def play(units: list[tuple[str, int, int]], seconds_max: float, keep: Path | None = None) -> Iterator[Unit]:
    """(target, seed, inputs) each, one after the other, each in a process of its own that may take `seconds_max`."""
    for name, seed, inputs in units:
        target = target_of(name, instrumented=True)
        with tempfile.TemporaryDirectory(prefix="bftnode-fuzz-") as folder:
            yield _unit(target, seed, inputs, seconds_max, Path(folder), keep)


def _unit(target: Any, seed: int, inputs: int, seconds_max: float, folder: Path, keep: Path | None) -> Unit:
    counts = mmap.mmap(-1, _COUNTS.size)
    child = os.fork()
    if child == 0:
        try:
            _be_fuzzed(target, seed, inputs, counts, folder, keep)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(99)
    ended = _ending_of(child, seconds_max)
    done, taken = _COUNTS.unpack(counts)
    report = folder / "report.json"
    if report.exists():
        said = json.loads(report.read_text(encoding="ascii"))
        breaches = [(judge, detail, raw) for judge, detail, raw in said["breaches"]]
        return Unit(target.name, seed, done, taken, said["digest"], breaches, "")
    log = folder / "libfuzzer.log"
    words = log.read_text(encoding="utf-8", errors="replace")[-400:] if log.exists() else "see standard error"
    found = [
        (f"libFuzzer: {file.name.partition('-')[0]}", " ".join(words.split()), file.read_bytes().hex())
        for file in sorted(folder.glob("artifact-*"))
    ]
    return Unit(target.name, seed, done, taken, "", found, f"{ended} after {done} inputs: {' '.join(words.split())}")


def _ending_of(child: int, seconds_max: float) -> str:
    deadline = time.monotonic() + seconds_max
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return f"ended with {os.waitstatus_to_exitcode(status)}"
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return f"ended because it took {seconds_max:.0f} s"
        time.sleep(0.01)


def _be_fuzzed(target: Any, seed: int, inputs: int, counts: mmap.mmap, folder: Path, keep: Path | None) -> None:
    import atheris  # noqa: PLC0415

    from nights.fuzz.corpus import inputs_of  # noqa: PLC0415
    from nights.fuzz.oracle import Examiner  # noqa: PLC0415

    log = os.open(folder / "libfuzzer.log", os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    files = []
    for number, raw in enumerate(inputs_of(target)):
        file = folder / f"seed-{number:05d}"
        file.write_bytes(raw[: target.bytes_max])
        files.append(str(file))
    (folder / "seeds").write_text(",".join(files), encoding="ascii")
    examiner, digest = Examiner(target), sha256()
    breaches: dict[tuple[str, str], bytes] = {}
    done = 0

    def one(data: bytes) -> None:
        nonlocal done
        done += 1
        digest.update(len(data).to_bytes(4, "big") + data)
        breach = examiner.examine(data, traced=done % TRACED_EVERY == 0)
        counts[:] = _COUNTS.pack(done, examiner.taken)
        if breach is not None and len(breaches) < BREACHES_MAX:
            breaches.setdefault((breach.judge, breach.detail), data)
        if done == inputs:
            said = [(judge, detail, data.hex()) for (judge, detail), data in breaches.items()]
            text = json.dumps({"digest": digest.hexdigest(), "breaches": said})
            (folder / "report.json").write_text(text, encoding="ascii")
            os._exit(0)

    def changed(data: bytes, bytes_max: int, dice: int) -> bytes:
        drawn = Random(dice)
        if drawn.random() < BYTES_OF_LIBFUZZER:
            return bytes(atheris.Mutate(data, bytes_max))
        return bytes(target.mutate(data, drawn)[:bytes_max])

    arguments = [
        "fuzz",
        f"-seed={seed + 1}",  # 0 would be the clock
        f"-max_len={target.bytes_max}",
        f"-rss_limit_mb={RSS_MEGABYTES_MAX}",
        f"-timeout={INPUT_SECONDS_MAX}",
        f"-artifact_prefix={folder}/artifact-",
        f"-seed_inputs=@{folder}/seeds",
        "-len_control=0",
        "-detect_leaks=0",
        "-reload=0",
        "-verbosity=0",
        *([] if keep is None else [str(keep)]),
    ]
    atheris.Setup(arguments, one, custom_mutator=changed)
    atheris.Fuzz()


def main(arguments: list[str]) -> None:
    """Units as JSON on the standard input, one JSON line for each on the standard output."""
    asked = json.load(sys.stdin)
    keep = Path(asked["keep"]) if asked["keep"] else None
    for unit in play([(name, seed, inputs) for name, seed, inputs in asked["units"]], asked["seconds_max"], keep):
        print(json.dumps({name: getattr(unit, name) for name in Unit.__slots__}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
