"""An exam for the tests of the core: `./scripts/exam [--only NAME] [--slice 1/6] [--write docs/exam.md]`.

Each patch of bugs.toml and harmless.toml is planted alone in a copy of the checkout, and there the documented command
hunts. A bug has to be found, and found again by what was printed; what is harmless must not alarm, nor the core as it
is, which is played first, or every "found" would mean nothing. Answers are kept (answers.json), so an exam can be
interrupted and goes on where it was; `--again` asks anew. `--glance` plays only the tests that are about each bug.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.exam import answers as book
from tests.exam.glances import GLANCE, Unplayable, glance, warm
from tests.exam.hunting import LIMIT_S, Broken, compile_tests, hunt
from tests.exam.planting import BadPatch, Patch, patches


def part(text: str) -> tuple[int, int]:
    """1/6: the first of six slices. Raises argparse.ArgumentTypeError."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 0 < int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 1/6")
    return int(number), int(count)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./scripts/exam", description=__doc__.splitlines()[0], epilog="example: ./scripts/exam --slice 1/6"
    )
    parser.add_argument("--only", metavar="NAME", action="append", help="this patch (may be repeated)")
    parser.add_argument("--slice", type=part, default=(1, 1), metavar="K/M", help="every M-th patch, from the K-th on")
    parser.add_argument("--glance", action="store_true", help="play only the tests that are about each bug")
    parser.add_argument("--again", action="store_true", help="also those that have an answer")
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="SECONDS", help=f"a hunt's (default {LIMIT_S})")
    parser.add_argument("--minutes", type=float, metavar="M", help="begin no further hunt after so long")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table of all answers")
    options = parser.parse_args()
    if options.write is not None and not options.write.parent.is_dir():
        print(f"error: {options.write} cannot be written: {options.write.parent} is no directory", file=sys.stderr)
        return 2
    everything = patches()
    unknown = set(options.only or ()) - {patch.name for patch in everything}
    if unknown:
        print(f"error: no patch is called {', '.join(sorted(unknown))}; see tests/exam/*.toml", file=sys.stderr)
        return 2
    number, count = options.slice
    chosen = [patch for patch in everything if not options.only or patch.name in options.only][number - 1 :: count]
    try:
        if options.glance:
            bad = _glance(chosen, again=options.again)
        else:
            bad = _play(chosen, options.limit, options.minutes, again=options.again)
    except BadPatch as bad_patch:
        print(f"error: {bad_patch}", file=sys.stderr)
        return 2
    except Broken as broken:
        print(f"error: the hunt ended in a way of its own:\n{broken}", file=sys.stderr)
        return 2
    answers, reached = book.load(), book.load_reached()
    print(book.summary(everything, answers, reached))
    if options.write is not None:
        options.write.write_text(book.page(everything, answers, reached), encoding="utf-8")
    return 1 if bad else 0


def _glance(chosen: list[Patch], *, again: bool) -> int:
    """How many of the chosen bugs are not seen by the tests that are about them. A hunt's answer stays."""
    answers = book.load()
    bugs = [patch for patch in chosen if not patch.harmless]
    unknown = {patch.name for patch in book.open_patches(bugs, answers)}
    todo = [bug for bug in bugs if bug.name in unknown or (again and answers[bug.name].by == GLANCE)]
    warm(todo)
    for bug in todo:
        try:
            answer = glance(bug)
        except Unplayable:
            print(f"  {bug.name}: has to be hunted", file=sys.stderr, flush=True)
            continue
        answers = {**book.load(), bug.name: answer}
        book.save(answers)
        said = f"{answer.cpu_s:.1f} s of CPU, {answer.test}" if answer.found else f"NOT SEEN by {bug.seen_by}"
        print(f"  {bug.name}: {said}", file=sys.stderr, flush=True)
    return sum(bug.name in answers and not answers[bug.name].found for bug in bugs)


def _play(chosen: list[Patch], limit_s: float, minutes: float | None, *, again: bool) -> int:
    """How many of the chosen fall short, those that have an answer included."""
    began, answers, bad = time.monotonic(), book.load(), 0
    todo = book.in_turn(chosen if again else book.unhunted(chosen, answers))
    if todo:
        compile_tests()
    if todo and (again or book.SOUND not in answers or not answers[book.SOUND].whole):
        print("the core as it is ...", file=sys.stderr, flush=True)
        reached: dict[str, float] = {}
        answers[book.SOUND] = hunt(None, limit_s, reached)
        book.save(answers)
        if not answers[book.SOUND].found:
            book.save_reached(reached)
    if (sound := answers.get(book.SOUND)) and (sound.found or not sound.whole):
        said = f"finds something: {sound.test} {sound.judge}" if sound.found else "does not end within the limit"
        print(f"without any patch the hunt {said}", file=sys.stderr)
        bad += 1
    for place, patch in enumerate(todo, 1):
        if minutes is not None and time.monotonic() - began > 60 * minutes:
            break
        answer = hunt(patch, limit_s)
        answers = {**book.load(), patch.name: answer}
        book.save(answers)
        said = f"{answer.cpu_s:.1f} s of CPU, {answer.judge}" if answer.found else "nothing found"
        short = book.wrong(patch, answer)
        print(
            f"  {place}/{len(todo)} {patch.name}: {answer.seconds:.1f} s, {said}{f' ({short})' if short else ''}",
            file=sys.stderr,
            flush=True,
        )
    known = [patch for patch in chosen if patch.name in answers and answers[patch.name].patch == patch.digest]
    return bad + sum(bool(book.wrong(patch, answers[patch.name])) for patch in known)


if __name__ == "__main__":
    sys.exit(main())
