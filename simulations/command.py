"""`python -m simulations` (or `./scripts/simulate`): worlds that any user can run.

    list                          the scenarios, the adversaries and the faults, and what each attacks
    run SCENARIO [--quiet]        one of them, or a file of your own, told as it happens
        [--report PAGE.html]      and drawn: who said what to whom, in one page for a browser
        [--real]                  by real processes: daemons, TLS, disks and clients (theatre/)
    run --all --real              all of them so, one after the other
    replay SEED [--n 4,7]         one seed of the swarm, told as it happens
        [--without PARTS] [--at-most FAULT=N] [--transactions N] [--ms N]   and less of it (minimise.py)
    swarm --seeds A..B [--jobs J] many seeds; what fails is told
        [--twice]                 each played twice, with equal traces
    campaign SET [--units A..B]   a set of any length, in tasks; goes on where it was interrupted (nights/)
    twins [--units A..B]          all worlds of a member at two places, over three views; or a slice of them
        [--jobs J] [--late] [--held]
        [--unit N]                one of them, told as it happens
    schedules lost|orders         a decision without up to three of its messages; its votes in every order; as above
    guarantees [--write FILE]     what is promised for coalitions of every size, and whether it held
    coverage [--write FILE] [--strict]  which ids of docs/faults.md were executed, by what
    bench [--strict]              deliveries a core-second, simulated minutes a minute
    crashpoints [--units A..B]    every write of short worlds, crashed in every way, and again in the recovery
        [--unit N | --list]       one of them, told; or only what there is
    mutate --seeds A..B           a liar's messages changed field by field, seed after seed
        [--matrix] [--write FILE] message x field x operator: how often each was heard; empty ones are told
    mutate --seed N               one of them, told as it happens
        [--network D] [--process C] [--transactions T]  with so many faults and envelopes
    replay-incident DIR...        what real members recorded, re-executed bit for bit
        [--quiet] [--any-code]
    growth [--write FILE]         messages, bytes and signatures of a block and a view change as n grows

Exit code 1 where a property was violated.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from simulations import coverage, crashpoints, growth, guarantees, incident
from simulations.adversaries import BEHAVIOURS, TWINS
from simulations.adversaries.twins import covers as covers_of_twins
from simulations.bench import bench, reached, table
from simulations.campaign import campaign, report
from simulations.catalogue import find, names, played
from simulations.minimise import BadWord, Less
from simulations.mutation import command as mutation
from simulations.report import Recorder, page
from simulations.script import BadScript
from simulations.slices import hush, units_of
from simulations.swarm import FAULTS, LAST_FAULTS, LATE_FAULTS, LATEST_FAULTS, SIZES
from simulations.world import Listener, Violation, line_of, listening
from simulations.worlds import command as worlds

LINES_MAX = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "run" and options.all and not options.real:
        parser.error("--all goes with --real: the tests play all of them in the small world")
    if options.command == "run" and options.real and options.report is not None:
        parser.error("--report draws the small world: real processes are not watched message by message")
    try:
        return _obey(options)
    except BrokenPipeError:
        hush()
        return 0


def _obey(options: argparse.Namespace) -> int:
    match options.command:
        case "list":
            return list_all()
        case "run" if options.real:
            # Real processes need all of bftnode, of which nothing here may know.
            from theatre.command import run_real  # noqa: PLC0415

            names = [] if options.scenario is None else [options.scenario]
            return run_real(names, everything=options.all, quiet=options.quiet)
        case "run":
            return run(options.scenario, quiet=options.quiet, report_to=options.report)
        case "replay":
            less = Less(options.without, options.at_most, options.transactions, options.ms)
            try:
                story = report(options.seed, options.n, LINES_MAX, less)
            except BadWord as bad:
                print(f"error: {bad}", file=sys.stderr)
                return 2
            print(story)
            return 1 if "VIOLATED" in story.rsplit("\n", 1)[-1] else 0
        case "campaign":
            # The campaigns know all sets, also those with real processes.
            from nights.command import campaign as play_set  # noqa: PLC0415

            return play_set(options.set, options.units, options.jobs, options.engine, options.ledger)
        case "twins" | "schedules":
            return worlds.obey(options)
        case "guarantees":
            return guarantees.run(options.n, options.write)
        case "coverage":
            return coverage.run(options.write, strict=options.strict)
        case "growth":
            return growth.run(options.n, options.write)
        case "crashpoints":
            return crashpoints.run(options.units, options.unit, only_list=options.list)
        case "mutate":
            return mutation.obey(options)
        case "replay-incident":
            return incident.run(options.folders, quiet=options.quiet, any_code=options.any_code)
        case "bench":
            return run_bench(options.seconds, options.runs, strict=options.strict)
        case _:
            return 1 if campaign(options.seeds, options.n, options.jobs, twice=options.twice) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulations",
        description="The daemon's own replica code against faulty networks, disks and members, by the seed.",
        epilog="example: python -m simulations swarm --seeds 1..200",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="scenarios, adversaries and faults, and what each attacks")
    one = commands.add_parser("run", help="play a scenario and tell it")
    which = one.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="with --real: every scenario that there is")
    which.add_argument(
        "scenario", nargs="?", metavar="SCENARIO", help="a name that `list` shows, or a file of your own (script.py)"
    )
    one.add_argument("--quiet", action="store_true", help="say only how it ended")
    one.add_argument("--report", type=Path, metavar="PAGE.html", help="write a page with a space-time diagram")
    one.add_argument("--real", action="store_true", help="by real processes (of a scenario file; no --report)")
    replay = commands.add_parser(
        "replay",
        help="play one seed of the swarm and tell it",
        epilog="example: python -m simulations replay 5 --without 'crash,n3:flooder' --at-most storm=1 --ms 900",
    )
    replay.add_argument("seed", type=int, metavar="SEED")
    replay.add_argument("--without", type=_words, default=(), metavar="PARTS", help="faults, liars and weather to omit")
    replay.add_argument("--at-most", type=_fewer, default=(), metavar="FAULT=N", help="let a fault happen less often")
    replay.add_argument("--transactions", type=_count, metavar="N", help="fewer envelopes while the world is unkind")
    replay.add_argument("--ms", type=_count, metavar="N", help="a shorter unkind part")
    swarm = commands.add_parser("swarm", help="play many seeds")
    swarm.add_argument(
        "--seeds", type=units_of, default=range(200), metavar="A..B", help="both included (default 0..199)"
    )
    swarm.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    swarm.add_argument("--twice", action="store_true", help="play each seed twice and compare the traces")
    long = commands.add_parser(
        "campaign",
        help="play a slice of a set, and go on where it was interrupted",
        epilog="example: python -m simulations campaign swarm --units 0..999",
    )
    long.add_argument("set", metavar="SET", help="its name (docs/nights.md), or MODULE:OBJECT of your own (work.py)")
    long.add_argument("--units", type=units_of, metavar="A..B", help="both included (default: a full set)")
    long.add_argument("--jobs", type=_count, metavar="J", help="processes (default: one a core)")
    long.add_argument("--engine", metavar="dask://HOST:PORT", help="workers of a running scheduler instead")
    long.add_argument(
        "--ledger", type=_writable, default=Path(".nights.sqlite"), metavar="FILE", help="default .nights.sqlite"
    )
    worlds.add_to(commands)
    promises = commands.add_parser("guarantees", help="coalitions of every size against every promise")
    promises.add_argument("--write", type=_writable, metavar="FILE.md", help="write the table instead of printing it")
    promises.add_argument("--n", type=_sizes, default=guarantees.SIZES, metavar="4,7,10", help="cluster sizes")
    matrix = commands.add_parser("coverage", help="the catalogue against what was executed on this code")
    matrix.add_argument("--write", type=_writable, metavar="FILE.md", help="write the matrix instead of printing it")
    matrix.add_argument("--strict", action="store_true", help="exit code 1 while an id is open")
    speed = commands.add_parser("bench", help="measure how fast the small world is")
    speed.add_argument("--seconds", type=int, default=60, help="simulated seconds of each steady run (default 60)")
    speed.add_argument("--runs", type=int, default=5, help="steady runs, of which the best counts (default 5)")
    speed.add_argument("--strict", action="store_true", help="exit code 1 where a target is missed")
    crashes = commands.add_parser(
        "crashpoints",
        help="every write of short worlds, crashed in every way",
        description="Crashes one member at every write of short worlds, in every way that a disk allows, and again at "
        "every write of its recovery (simulations/crashpoints). All of it is most of an hour of one core.",
        epilog="example: python -m simulations crashpoints --units 0..99",
    )
    part = crashes.add_mutually_exclusive_group()
    part.add_argument("--units", type=units_of, metavar="A..B", help="these first crashes only (default: all)")
    part.add_argument("--unit", type=int, metavar="N", help="play one, and tell what was violated, or the crash alone")
    part.add_argument("--list", action="store_true", help="count what there is and play nothing")
    mutation.add_to(commands, _writable)
    _replay_incident(
        commands.add_parser(
            "replay-incident",
            help="re-execute what real members recorded (`bftnode run --record`)",
            description="Takes every step of the recordings again, compares what follows, and shows the first "
            "difference. Turns of several members are merged by their wall clocks, and what they said is compared. "
            "Exit code 0: all equal; 1: a difference, a contradiction or damage; 2: nothing can be replayed here.",
            epilog="example: python -m simulations replay-incident /srv/org1 /srv/org2",
        )
    )
    larger = commands.add_parser("growth", help="what a block and a view change cost as the cluster grows")
    larger.add_argument("--write", type=_writable, metavar="FILE.md", help="write the tables instead of printing them")
    larger.add_argument("--n", type=_sizes, default=growth.SIZES, metavar="4,7,31", help="cluster sizes")
    for command in (replay, swarm):
        command.add_argument("--n", type=_sizes, default=SIZES, metavar="4,7", help="cluster sizes to draw from")
    return parser


def _replay_incident(recorded: argparse.ArgumentParser) -> None:
    recorded.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="a member's home, or its data/recording")
    recorded.add_argument("--quiet", action="store_true", help="do not tell the story")
    recorded.add_argument("--any-code", action="store_true", help="replay with other code than the recording's")


def _writable(text: str) -> Path:
    """Looked at before the work whose result it is for."""
    path = Path(text)
    if not path.parent.is_dir() or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: name a file in a directory that exists")
    return path


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def _fewer(text: str) -> tuple[tuple[str, int], ...]:
    pairs = [word.partition("=") for word in _words(text)]
    if not all(name and count.isdecimal() for name, _, count in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form crash=1,storm=2")
    return tuple((name, int(count)) for name, _, count in pairs)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 4,7,10") from None
    if min(sizes) < 4:
        raise argparse.ArgumentTypeError("fewer than 4 members cannot bear a faulty one")
    return sizes


def list_all() -> int:
    """What there is, in lines: name, ids of docs/faults.md, what it is."""
    scenarios = (find(name) for name in names())
    _table("Scenarios (`run NAME` plays one)", ((it.name, it.covers, it.story) for it in scenarios))
    adversaries = [(name, sys.modules[kind.__module__]) for name, kind in BEHAVIOURS.items() if isinstance(kind, type)]
    rows = [(name, module.covers, module.__doc__) for name, module in adversaries]
    _table("Adversaries (the swarm draws and mixes them)", [*rows, (TWINS, covers_of_twins, "Two of one identity.")])
    every_fault = (*FAULTS, *LATE_FAULTS, *LATEST_FAULTS, *LAST_FAULTS)
    print("\nFaults of the environment (the swarm draws them)\n  " + ", ".join(every_fault))
    return 0


def run_bench(seconds: int, runs: int, *, strict: bool) -> int:
    """Measure and say so."""
    found = bench(seconds, runs)
    print(table(found))
    return 1 if strict and not reached(found) else 0


def _table(title: str, rows: Iterable[tuple[str, Sequence[str], str | None]]) -> None:
    print(f"\n{title}")
    for name, covers, story in sorted(rows):
        sentence = " ".join((story or "").split("\n\n")[0].split())
        print(f"  {name:28} {sentence}\n  {'':28} attacks {', '.join(covers)}")


class Printer(Listener):
    """Tells the story on standard output."""

    def told(self, ms: int, who: str, what: str) -> None:
        print(line_of(ms, who, what))


def run(name: str, *, quiet: bool, report_to: Path | None = None) -> int:
    """Play a scenario; tell it unless `quiet`; draw it."""
    try:
        scenario = find(name)
    except BadScript as bad:
        print(f"error: {bad}", file=sys.stderr)
        return 2
    violation = None
    recorder = Recorder()
    listeners = [*([] if quiet else [Printer()]), *([] if report_to is None else [recorder])]
    with listening(*listeners):
        try:
            scenario.play()
        except Violation as found:
            violation = found
    coverage.record(played())
    if report_to is not None:
        try:
            drawn = page(
                scenario.name, scenario.story, scenario.covers, str(violation or ""), scenario.ending, recorder
            )
            report_to.write_text(drawn, encoding="utf-8")
        except OSError as error:
            print(f"error: {report_to}: {error.strerror}", file=sys.stderr)
            return 2
        print(f"drawn in {report_to}", file=sys.stderr)
    print(f"{scenario.name}: " + (f"VIOLATED {violation}" if violation else scenario.ending))
    return 1 if violation else 0
