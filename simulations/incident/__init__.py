"""Incident replay: what real members recorded, re-executed here bit for bit, on one timeline.

A replica is a function, so a member's recording (docs/operations.md, "Recording a member") says all that it did. Each
step is taken again by this code and compared; the first that comes to something else is shown. Of several members the
turns are merged by their wall clocks, the story is told in that order, and what they said to each other is compared.
"""

import sys
from collections.abc import Iterator, Sequence
from heapq import merge
from pathlib import Path
from typing import NamedTuple

from bftnode.replica.effects import Accuse, AppendBlock, Broadcast, Note, Persist, Send
from bftnode.replica.events import Executed, Linked, Received, Stopping, Submitted, Unlinked
from bftnode.replica.recording import RAISED, RecordedTurn, Unreadable
from simulations.incident.checks import Checks
from simulations.incident.lives import Life, Replayed, lives_in
from simulations.words import in_words, note_in_words
from simulations.world import line_of

__all__ = ["Moment", "run", "timeline"]

PROBLEMS_TOLD_MAX = 10
"""Contradictions that are told; more have the same cause more often than not, and are counted."""


class Moment(NamedTuple):
    """A turn of a life, when its place on the timeline is, and what came of it; a problem where it cannot be read."""

    wall_ms: int
    place: int  # which of the directories
    life: Life
    turn: RecordedTurn | None
    steps: list[Replayed]
    problem: str


def run(folders: Sequence[Path], *, quiet: bool, any_code: bool) -> int:
    """The command. 0: all equal; 1: a difference, a contradiction or damage; 2: there is nothing that can be replayed
    here, and why."""
    try:
        lives = [[Life(path, any_code=any_code) for path in lives_in(folder)] for folder in folders]
    except (Unreadable, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    chains = {life.members.chain_id for each in lives for life in each}
    if len(chains) > 1:
        print("error: these are recordings of different clusters", file=sys.stderr)
        return 2
    first = lives[0][0]
    began_ms = min(each[0].start.began_ms for each in lives)
    for folder, each in zip(folders, lives, strict=True):
        print(f"n{each[0].member} is {first.names[each[0].member]}: {folder}, {len(each)} lives")
    checks = Checks(first.members)
    problems = []
    for moment in timeline(lives):
        member = moment.life.member
        for step in moment.steps:
            checks.look(member, step)
            for line in () if quiet else story_of(step):
                print(line_of(moment.wall_ms - began_ms, f"n{member}", line))
        if moment.problem:
            problems.append(moment.problem)
            print(moment.problem, flush=True)
    for each in lives:
        for life in each:
            note = f"; {life.note}" if life.note else ""
            print(f"n{life.member} {life.path.name}: {life.turns} turns, {life.events} events replayed{note}")
    for line in checks.found[:PROBLEMS_TOLD_MAX]:
        print(line)
    verdict = "all equal" if not problems else f"{len(problems)} lives are not as they were recorded"
    said = f"{checks.statements} statements and {checks.blocks} appended blocks compared"
    print(f"{verdict}; {said}: " + (f"{len(checks.found)} contradictions" if checks.found else "no contradiction"))
    return 1 if problems or checks.found else 0


def timeline(lives: Sequence[Sequence[Life]]) -> Iterator[Moment]:
    """The turns of all members by their wall clocks; of one member always in their own order."""
    yield from merge(*(_of_one(place, each) for place, each in enumerate(lives)), key=lambda it: (it.wall_ms, it.place))


def _of_one(place: int, lives: Sequence[Life]) -> Iterator[Moment]:
    wall_ms = 0
    for life in lives:
        wall_ms = max(wall_ms, life.start.began_ms)
        try:
            for turn, steps in life.replay():
                wall_ms = max(wall_ms, turn.now.wall_ms)
                difference = steps[-1].difference if steps else ""
                yield Moment(wall_ms, place, life, turn, steps, _shown(life, turn, steps) if difference else "")
        except (Unreadable, OSError) as error:
            yield Moment(wall_ms, place, life, None, [], str(error))


def _shown(life: Life, turn: RecordedTurn, steps: list[Replayed]) -> str:
    """The first difference, for people."""
    last = steps[-1]
    event = next(iter(_event_in_words(last)), type(last.step.event).__name__)
    lines = [
        f"{life.path}: the first difference is in turn {life.turns}, event {len(steps)} of {len(turn.steps)}: {event}",
        f"    {last.difference}",
        *(f"    here: {line}" for line in _effects_in_words(last)),
    ]
    return "\n".join(lines)


def story_of(replayed: Replayed) -> list[str]:
    """A step in lines: what came in, what left, what was done."""
    raised = ["raises, and its node ends"] if replayed.step.seal == RAISED else []
    return [*_event_in_words(replayed), *_effects_in_words(replayed), *raised]


def _event_in_words(replayed: Replayed) -> list[str]:
    match replayed.step.event:
        case Received(sender, frame):
            return [f"<- n{sender} {in_words(frame)}"]
        case Submitted(transactions):
            return ["<- client " + ", ".join(f"{item.key[0].hex()[:4]}/{item.key[1]}" for item in transactions)]
        case Linked(member):
            return [f"is linked to n{member}"]
        case Unlinked(member):
            return [f"is linked to n{member} no more"]
        case Executed(seq):
            return [f"has executed height {seq}"]
        case Stopping():
            return ["stops"]
        case _:
            return []


def _effects_in_words(replayed: Replayed) -> list[str]:
    lines = []
    for effect in replayed.effects:
        match effect:
            case Persist(name, _, behind):
                lines.append(f"writes {name}{' behind' if behind else ''}")
            case Broadcast(frame):
                lines.append(f"-> all {in_words(frame)}")
            case Send(to, frame):
                lines.append(f"-> n{to} {in_words(frame)}")
            case AppendBlock(block):
                lines.append(f"appends height {block.seq} {block.hash.hex()[:6]}")
            case Accuse(culprit, proved):
                lines.append(f"accuses n{culprit}: {proved}")
            case Note():
                lines.append(note_in_words(effect))
            case _:
                pass
    return lines
