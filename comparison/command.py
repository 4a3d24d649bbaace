"""Command line of the comparison: which systems, how long, and where the answer goes."""

import argparse
import datetime
import os
import platform
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType

from comparison import cometbft, modules, packages
from comparison.calibration import calibrate, filesystem_of
from comparison.etcd import Etcd
from comparison.failures import Failed
from comparison.findings import Effort, Section, Study, failed
from comparison.measure import take_turn
from comparison.members import Bftnode
from comparison.page import page
from comparison.plan import LONG, TOPICS, Plan
from comparison.results import Described, Pair, Results, Turn
from comparison.studies import STUDIES
from comparison.systems import System
from comparison.table import markdown, written_into

HERE = Path(__file__).resolve().parent.parent / ".compare"
EXIT_INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
QUICK_SECONDS = 2.0
SECONDS_MIN = 2.0
"""Of a window: in less, CPU is not to be counted in ticks of 10 ms."""
TOOLS_S = 60
"""Fetching and compiling, the first time."""
GUEST_TOOLS_S = 240
"""The same for CometBFT, which is compiled whole."""
COMETBFT: Mapping[str, Mapping[str, str]] = {"cometbft": {}, "cometbft tuned": cometbft.TUNED}
"""Its columns: names, and settings."""


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    asked = parser().parse_args(words)
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    try:
        return compare(asked, words)
    except Failed as failed:
        print(f"error: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: every process has been ended, the clusters' data deleted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Once: what is being put away then, in bounded time, is not interrupted again."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def parser() -> argparse.ArgumentParser:
    topics = "\n".join(f"  {name}  {text}" for name, text in TOPICS.items())
    made = argparse.ArgumentParser(
        prog="compare",
        description="Measure bftnode beside etcd on this machine, in turns, with the same load.",
        epilog=f"what is measured:\n{topics}\n\netcd and its client library come from Debian's packages, unpacked in "
        "the directory, not installed.\n"
        "--with cometbft adds two columns to T1, T3 and T5: CometBFT with its kvstore, as it comes, and with the "
        "timings\nturned down that bound it. It is compiled by a Go toolchain, 1.22.11 or newer, from the Go module "
        "proxy\n(once, some minutes); where that cannot be, the columns say so and all else is measured.\n"
        "The machine should have nothing else to do.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--pairs", type=pairs_of, default=5, metavar="N", help="turns of each system (default 5)")
    made.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="of each window (default 10, at least 2)"
    )
    made.add_argument("--only", type=topics_of, metavar="T1,T3", help="(default all but T8, which takes minutes)")
    made.add_argument("--long", action="store_true", help="T8 too")
    made.add_argument("--operations", type=int, metavar="N", help="of the large logs of T7 and T8, instead of theirs")
    made.add_argument("--quick", action="store_true", help="one pair and short windows: shows that it works")
    made.add_argument("--etcd-4", action="store_true", help="a second etcd, with as many members as bftnode has")
    made.add_argument(
        "--with",
        dest="guests",
        choices=["cometbft"],
        action="append",
        default=[],
        help="CometBFT too, where Go is: two more turns a pair",
    )
    made.add_argument("--write", type=Path, metavar="FILE", help="the table, as markdown, between the file's marks")
    made.add_argument("--html", type=Path, metavar="FILE", help="a page with curves")
    made.add_argument(
        "--directory",
        type=Path,
        default=HERE,
        metavar="DIR",
        help="for programs and data, on a disk (default .compare)",
    )
    return made


def pairs_of(text: str) -> int:
    """Raises argparse.ArgumentTypeError for what is no number of turns."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: a number from 1 on")
    return int(text)


def topics_of(text: str) -> frozenset[str]:
    """Raises argparse.ArgumentTypeError naming what is none."""
    chosen = frozenset(text.upper().split(","))
    if unknown := sorted(chosen - set(TOPICS)):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(TOPICS)}")
    return chosen


def compare(asked: argparse.Namespace, words: Sequence[str]) -> int:
    """0, or 1 when it ended early; then what there is is told all the same. Raises Failed, KeyboardInterrupt."""
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    pairs = 1 if asked.quick else asked.pairs
    seconds = QUICK_SECONDS if asked.quick else max(SECONDS_MIN, asked.seconds)
    topics = asked.only or frozenset(TOPICS) - (frozenset() if asked.long else LONG)
    plan = Plan(topics, seconds, max(1.0, seconds / 2), asked.quick)
    asked.directory.mkdir(parents=True, exist_ok=True)
    directory = asked.directory.resolve()
    filesystem = filesystem_of(directory, Path("/proc/self/mounts").read_text())
    systems: list[System] = [Bftnode()]
    guests = list(COMETBFT) if "cometbft" in asked.guests and plan.topics_of("cometbft") else []
    kinds = ["bftnode", "etcd", *(["etcd"] if asked.etcd_4 else []), *(["cometbft"] * len(guests))]
    tell(_usually(plan, pairs, kinds))
    if plan.in_turns:
        tools = packages.ensure(directory / "tools", tell)
        systems += [Etcd(tools), *([Etcd(tools, 4)] if asked.etcd_4 else [])]
    here, absent = guests_of(guests, directory / "cometbft", tell)
    systems += here
    results = Results(
        began=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=shlex.join(["./scripts/compare", *words]),
        machine=machine(filesystem),
        cores=os.cpu_count() or 1,
        seconds=plan.seconds,
        curve_seconds=plan.curve_seconds,
        systems=[Described(one.name, one.title, one.flags, one.count) for one in systems] + absent,
    )
    code = 0
    try:
        for number in range(pairs if plan.in_turns else 0):
            results.pairs.append(_pair(results, systems, plan, directory, f"pair {number + 1} of {pairs}", tell))
    except Failed as failed:
        if not results.pairs:
            raise
        print(f"error: {failed}\nWhat follows is of the pairs before that.", file=sys.stderr)
        code = 1
    effort = Effort(plan.seconds, plan.quick, asked.operations)
    for topic, study in STUDIES.items():
        if topic in plan.topics and not code:
            results.sections.append(_study(topic, study, effort, directory, tell))
    code = code or int(any(len(pair.turns) < len(systems) for pair in results.pairs))
    code = code or int(not all(section.measured for section in results.sections))
    text = markdown(results)
    print(text, end="")
    if asked.write is not None:
        before = asked.write.read_text(encoding="utf-8") if asked.write.exists() else ""
        asked.write.write_text(written_into(before, text), encoding="utf-8")
    if asked.html is not None:
        asked.html.write_text(page(results), encoding="utf-8")
    return code


def guests_of(
    names: Sequence[str], path: Path, tell: Callable[[str], None]
) -> tuple[list[cometbft.Cometbft], list[Described]]:
    """Those that can be had here, with their programs in `path`, and the columns of those that cannot."""
    if not names:
        return [], []
    try:
        tools = modules.ensure(path, tell)
    except Failed as why:
        tell(f"CometBFT is not measured: {why}")
        return [], [not_here(name, why) for name in names]
    return [cometbft.Cometbft(tools, COMETBFT[name]) for name in names], []


def not_here(name: str, why: Failed) -> Described:
    """A column that says why it is empty."""
    return Described(name, f"{name}, not measured", f"could not be had here: {' '.join(str(why).split())}", 0)


def _usually(plan: Plan, pairs: int, kinds: Sequence[str]) -> str:
    """How long it will take, in words."""
    studies = [topic for topic in STUDIES if topic in plan.topics]
    turns_s = pairs * sum(plan.turn_s(kind) for kind in kinds) if plan.in_turns else 0.0
    tools_s = TOOLS_S + (GUEST_TOOLS_S if "cometbft" in kinds else 0)
    words = [f"{pairs} x {len(kinds)} turns"] if plan.in_turns else []
    words += [f"the studies {', '.join(studies)}"] if studies else []
    first = f", and {tools_s} s more the first time" if plan.in_turns else ""
    return f"{' and '.join(words)}: usually {turns_s + plan.studies_s():.0f} s{first}."


def _study(topic: str, study: Study, effort: Effort, directory: Path, tell: Callable[[str], None]) -> Section:
    """One that cannot be made here takes nothing from the others."""
    path = Path(tempfile.mkdtemp(prefix=f"{topic}-", dir=directory))
    try:
        can = calibrate(path)
        section = study(path, effort, lambda text: tell(f"{topic}: {text}"))
    except Failed as why:
        tell(f"{topic}: {why}")
        return failed(topic, str(why))
    finally:
        shutil.rmtree(path)
    minute = f"{can.verifications_per_s:,.0f} Ed25519 verifications a second when it began."
    return replace(section, notes=(*section.notes, minute))


def _pair(
    results: Results, systems: Sequence[System], plan: Plan, directory: Path, title: str, tell: Callable[[str], None]
) -> Pair:
    """A turn of every system, one after the other, each after a look at what the machine can do in that minute."""
    pair = Pair()
    for system in systems:
        before = [one.turns[system.name] for one in results.pairs if system.name in one.turns]
        path = Path(tempfile.mkdtemp(prefix="turn-", dir=directory))
        tell_of = partial(_tell_of, tell, title, system.name)
        try:
            turn = Turn(system.name, calibrate(path))
            can = turn.calibration
            tell_of(
                f"{can.verifications_per_s:,.0f} verifications, {can.synced_writes_per_s:,.0f} synced writes a second"
            )
            take_turn(turn, system, plan, path, before, tell_of)
            pair.turns[system.name] = turn
        except Failed as why:
            if not system.guest:
                raise
            tell_of(f"not in the table, for its turn failed: {why}")
        finally:
            shutil.rmtree(path)
    return pair


def _tell_of(tell: Callable[[str], None], title: str, name: str, text: str) -> None:
    tell(f"{title}, {name}: {text}")


def machine(filesystem: str) -> str:
    """One sentence."""
    model = "an unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GB, Linux {platform.release()}, data on {filesystem}, "
        "members and load on loopback with TLS"
    )
