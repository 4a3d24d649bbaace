"""The answers so far, kept beside the patches, and the table of them."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from tests.exam.glances import GLANCE
from tests.exam.hunting import Answer
from tests.exam.planting import Patch

ANSWERS = Path(__file__).with_name("answers.json")
REACHED = Path(__file__).with_name("reached.json")
"""How much CPU (s) a half has used when a test ends, where nothing is found: a hunt in which this test fails has found
something by then."""

SOUND = "(as it is)"
"""The name of the core without a patch."""

TARGET_S = 60
MEDIAN_TARGET_S = 10

INTRODUCTION = """\
# The exam

One-line bugs in the core, each planted alone in a copy of the checkout, and changes that are none. In each copy the
documented command hunts: `./scripts/hunt` (two processes, worlds beside conversations; it ends at the first failure).
*Seconds* are by the clock, *CPU* is what the half that found it had used: what it takes on a core of its own. *Again*:
whether the printed command (a seed, a scenario, a test) shows the same violation once more.
A bug that was *looked at only* was not hunted yet: the tests that are about it (`seen_by`) were played alone, and
*a hunt gets there* is when, by the CPU of its half, the test that saw it ends in a hunt that finds nothing before.
`tests/exam/bugs.toml` says how to add one; written by `./scripts/exam --write docs/exam.md`.
"""


def load() -> dict[str, Answer]:
    """By name of the patch."""
    if not ANSWERS.exists():
        return {}
    return {name: Answer(**fields) for name, fields in json.loads(ANSWERS.read_text(encoding="utf-8")).items()}


def load_reached() -> dict[str, float]:
    """By test; of the last hunt on the core as it is."""
    found: dict[str, float] = json.loads(REACHED.read_text(encoding="utf-8")) if REACHED.exists() else {}
    return found


def save_reached(reached: dict[str, float]) -> None:
    """In the order of tests' names."""
    REACHED.write_text(json.dumps(dict(sorted(reached.items())), indent=0) + "\n", encoding="utf-8")


def save(answers: dict[str, Answer]) -> None:
    """All of them; whoever is interrupted loses the one that is being looked for."""
    text = json.dumps({name: dataclasses.asdict(answers[name]) for name in sorted(answers)}, indent=1)
    ANSWERS.write_text(text + "\n", encoding="utf-8")


def open_patches(patches: Iterable[Patch], answers: dict[str, Answer]) -> list[Patch]:
    """Those without an answer to what they are now."""
    return [patch for patch in patches if patch.name not in answers or answers[patch.name].patch != patch.digest]


def unhunted(patches: Iterable[Patch], answers: dict[str, Answer]) -> list[Patch]:
    """Those without a hunt's answer to what they are now."""
    patches = list(patches)
    waiting = {patch.name for patch in open_patches(patches, answers)}
    return [patch for patch in patches if patch.name in waiting or answers[patch.name].by == GLANCE]


def in_turn(patches: Iterable[Patch]) -> list[Patch]:
    """One of each topic, then another one of each: an exam that is cut short has asked about everything. What is
    harmless comes last: it takes a whole hunt, where a bug takes some seconds."""
    asked = Counter[str]()
    places: list[tuple[bool, int, int, Patch]] = []
    for patch in patches:
        places.append((patch.harmless, asked[patch.topic], len(places), patch))
        asked[patch.topic] += 1
    return [place[-1] for place in sorted(places, key=lambda place: place[:3])]


def wrong(patch: Patch, answer: Answer) -> str:
    """What an answer falls short of; empty: nothing."""
    if patch.harmless:
        if answer.found:
            return "a false alarm"
        return "" if answer.whole else "ended by the limit"
    if not answer.found:
        return "not found"
    if answer.by == GLANCE:
        return ""
    if answer.cpu_s > TARGET_S:
        return f"found after more than {TARGET_S} s of CPU"
    return "" if answer.replayed else "not the same again"


def summary(patches: list[Patch], answers: dict[str, Answer], reached: dict[str, float]) -> str:
    """Lines for people: what was played, what was found, how soon."""
    waiting = {patch.name for patch in open_patches(patches, answers)}
    bugs = [answers[patch.name] for patch in patches if not patch.harmless and patch.name not in waiting]
    harmless = [answers[patch.name] for patch in patches if patch.harmless and patch.name not in waiting]
    hunted = [answer for answer in bugs if answer.by != GLANCE]
    glances = [answer for answer in bugs if answer.by == GLANCE]
    found = [answer for answer in hunted if answer.found]
    alarms = sum(answer.found for answer in harmless)
    lines = [
        f"Hunted: {len(hunted)} bugs, {len(found)} found, {sum(answer.replayed for answer in found)} of them again by "
        f"what was printed; {len(harmless)} harmless changes, {alarms} alarms."
    ]
    if found:
        cpu, clock = sorted(answer.cpu_s for answer in found), sorted(answer.seconds for answer in found)
        lines.append(
            f"CPU until a bug is found: median {median(cpu):.1f} s, most {cpu[-1]:.1f} s, "
            f"{sum(s <= TARGET_S for s in cpu)} within {TARGET_S} s. "
            f"By the clock: median {median(clock):.1f} s, most {clock[-1]:.1f} s."
        )
    if glances:
        seen = [answer for answer in glances if answer.found]
        lines.append(f"Looked at only: {len(glances)} more bugs, {len(seen)} seen by the tests that are about them.")
        if latest := sorted(reached[answer.test] for answer in seen if answer.test in reached):
            lines.append(
                f"A hunt gets to the tests that see {len(latest)} of these: median {median(latest):.1f} s of CPU, "
                f"most {latest[-1]:.1f} s, {sum(s <= TARGET_S for s in latest)} within {TARGET_S} s."
            )
    if sound := answers.get(SOUND):
        lines.append(
            f"The core as it is: {'ALARM' if sound.found else 'nothing found'} in {sound.seconds:.0f} s "
            f"(CPU: worlds {sound.worlds_s:.0f} s, conversations {sound.conversations_s:.0f} s)."
        )
    if waiting:
        lines.append(f"{len(waiting)} patches are not played yet.")
    return "\n".join(lines)


def table(patches: list[Patch], answers: dict[str, Answer], reached: dict[str, float]) -> str:
    """Markdown: bugs that were hunted, bugs that were looked at, what is harmless. What has no answer is left to the
    summary."""
    waiting = {patch.name for patch in open_patches(patches, answers)}
    played = [(patch, answers[patch.name]) for patch in patches if patch.name not in waiting]
    hunted = [(patch, answer) for patch, answer in played if not patch.harmless and answer.by != GLANCE]
    glances = [(patch, answer) for patch, answer in played if not patch.harmless and answer.by == GLANCE]
    lines = [_row("bug", "topic", "seconds", "CPU", "by", "judge", "again"), "|---|---|---|---|---|---|---|"]
    for patch, answer in hunted:
        again = "yes" if answer.replayed else "**no**"
        how = (f"{answer.seconds:.1f}", f"{answer.cpu_s:.1f}", _short(answer.test), answer.judge, again)
        missed = (f"**not in {answer.seconds:.0f}**", "", "", "", "")
        lines.append(_row(patch.name, patch.topic, *(how if answer.found else missed)))
    lines += ["", _row("bug, looked at only", "topic", "a hunt gets there", "by", "judge"), "|---|---|---|---|---|"]
    for patch, answer in glances:
        said = (_short(answer.test), answer.judge) if answer.found else (f"**not by {_short(patch.seen_by)}**", "")
        latest = f"{reached[answer.test]:.1f}" if answer.test in reached else ""
        lines.append(_row(patch.name, patch.topic, latest, *said))
    lines += ["", _row("harmless", "what it is", "alarm"), "|---|---|---|"]
    for patch, answer in [pair for pair in played if pair[0].harmless]:
        said_of_it = "none" if answer.whole else "**not finished**"
        lines.append(
            _row(patch.name, patch.topic, f"**{answer.test}: {answer.judge}**" if answer.found else said_of_it)
        )
    return "\n".join(lines)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _short(test: str) -> str:
    return test.rsplit("/", 1)[-1]


def page(patches: list[Patch], answers: dict[str, Answer], reached: dict[str, float]) -> str:
    """docs/exam.md."""
    return f"{INTRODUCTION}\n{summary(patches, answers, reached)}\n\n{table(patches, answers, reached)}\n"
