"""The answers so far, kept beside the patches, and the table of them."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from tests.exam.hunting import Answer
from tests.exam.planting import Patch

ANSWERS = Path(__file__).with_name("answers.json")
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
`tests/exam/bugs.toml` says how to add one; written by `./scripts/exam --write docs/exam.md`.
"""


def load() -> dict[str, Answer]:
    """By name of the patch."""
    if not ANSWERS.exists():
        return {}
    return {name: Answer(**fields) for name, fields in json.loads(ANSWERS.read_text(encoding="utf-8")).items()}


def save(answers: dict[str, Answer]) -> None:
    """All of them; whoever is interrupted loses the one that is being looked for."""
    text = json.dumps({name: dataclasses.asdict(answers[name]) for name in sorted(answers)}, indent=1)
    ANSWERS.write_text(text + "\n", encoding="utf-8")


def open_patches(patches: Iterable[Patch], answers: dict[str, Answer]) -> list[Patch]:
    """Those without an answer to what they are now."""
    return [patch for patch in patches if patch.name not in answers or answers[patch.name].patch != patch.digest]


def wrong(patch: Patch, answer: Answer) -> str:
    """What an answer falls short of; empty: nothing."""
    if patch.harmless:
        if answer.found:
            return "a false alarm"
        return "" if answer.whole else "ended by the limit"
    if not answer.found:
        return "not found"
    late = "" if answer.cpu_s <= TARGET_S else f"found after more than {TARGET_S} s of CPU"
    return late if answer.replayed else late or "not the same again"


def summary(patches: list[Patch], answers: dict[str, Answer]) -> str:
    """Lines for people: what was played, what was found, how soon."""
    waiting = {patch.name for patch in open_patches(patches, answers)}
    bugs = [answers[patch.name] for patch in patches if not patch.harmless and patch.name not in waiting]
    harmless = [answers[patch.name] for patch in patches if patch.harmless and patch.name not in waiting]
    found = [answer for answer in bugs if answer.found]
    alarms = sum(answer.found for answer in harmless)
    lines = [
        f"{len(bugs)} bugs played, {len(found)} found, {sum(answer.replayed for answer in found)} of them again by what"
        f" was printed; {len(harmless)} harmless changes played, {alarms} alarms."
    ]
    if found:
        cpu, clock = sorted(answer.cpu_s for answer in found), sorted(answer.seconds for answer in found)
        lines.append(
            f"CPU until a bug is found: median {median(cpu):.1f} s, most {cpu[-1]:.1f} s, "
            f"{sum(s <= TARGET_S for s in cpu)} within {TARGET_S} s. "
            f"By the clock: median {median(clock):.1f} s, most {clock[-1]:.1f} s."
        )
    if sound := answers.get(SOUND):
        lines.append(
            f"The core as it is: {'ALARM' if sound.found else 'nothing found'} in {sound.seconds:.0f} s "
            f"(CPU: worlds {sound.worlds_s:.0f} s, conversations {sound.conversations_s:.0f} s)."
        )
    if waiting:
        lines.append(f"{len(waiting)} patches are not played yet.")
    return "\n".join(lines)


def table(patches: list[Patch], answers: dict[str, Answer]) -> str:
    """Markdown: bugs, then what is harmless; what has no answer is left to the summary."""
    waiting = {patch.name for patch in open_patches(patches, answers)}
    lines = ["| bug | topic | seconds | CPU | by | judge | again |", "|---|---|---|---|---|---|---|"]
    for patch in (patch for patch in patches if not patch.harmless and patch.name not in waiting):
        answer = answers[patch.name]
        if not answer.found:
            lines.append(f"| {patch.name} | {patch.topic} | **not in {answer.seconds:.0f}** | | | | |")
            continue
        cells = (
            patch.name,
            patch.topic,
            f"{answer.seconds:.1f}",
            f"{answer.cpu_s:.1f}",
            answer.test.rsplit("/", 1)[-1],
            answer.judge,
            "yes" if answer.replayed else "**no**",
        )
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    lines += ["", "| harmless | what it is | alarm |", "|---|---|---|"]
    for patch in (patch for patch in patches if patch.harmless and patch.name not in waiting):
        answer = answers[patch.name]
        said = f"**{answer.test}: {answer.judge}**" if answer.found else "none" if answer.whole else "**not finished**"
        lines.append(f"| {patch.name} | {patch.topic} | {said} |")
    return "\n".join(lines)


def page(patches: list[Patch], answers: dict[str, Answer]) -> str:
    """docs/exam.md."""
    return f"{INTRODUCTION}\n{summary(patches, answers)}\n\n{table(patches, answers)}\n"
