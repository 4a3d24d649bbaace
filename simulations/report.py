"""A run as one page that needs nothing else: a space-time diagram, the story in sentences, the verdict.

The page is report.html with the run's facts in it. Nothing of a frame gets into it but what words.py makes of it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from bftnode.protocol.messages import Kind
from simulations.judges import kind_of
from simulations.words import in_words
from simulations.world import Listener, World

PAGE = Path(__file__).with_name("report.html")
MESSAGES_MAX = 50_000
"""What a browser draws without stuttering; of a longer run the first ones are shown, and the page says so."""

_MARKS = (
    ("crashes", "crash"),
    ("starts", "start"),
    ("stops", "stop"),
    ("appends", "append"),
    ("accuses", "accuse"),
    ("asks for view", "view"),
    ("enters view", "view"),
    ("learns that view", "view"),
    ("follows ", "view"),
    ("===", "step"),
    ("is ", "other"),
    ("gives view", "other"),
    ("has forgotten", "other"),
    ("may vote again", "other"),
    ("votes again", "other"),
    ("hears nothing", "other"),
    ("ends: ", "accuse"),
    ("finds that", "other"),
)
"""How a line of the story begins -> the mark that it gets. What begins otherwise (a frame that was heard) gets none."""


class Recorder(Listener):
    """Keeps what happens in a world; in the last one, where a scenario plays several."""

    def __init__(self) -> None:
        self.world: World | None = None
        # sent, from, to, arrives (-1: never), kind, words
        self.messages: list[tuple[int, int, int, int, int, str]] = []
        self.events: list[tuple[int, int, str, str]] = []  # when, place (-1: nobody's), mark, words
        self.kinds: list[str] = []
        self.cut = False

    def begun(self, world: World) -> None:
        self.world = world
        self.messages.clear()
        self.events.clear()
        self.kinds.clear()
        self.cut = False

    def told(self, ms: int, who: str, what: str) -> None:
        mark = next((mark for beginning, mark in _MARKS if what.startswith(beginning)), None)
        if mark is not None:
            place = int(who[1:]) if who[:1] == "n" and who[1:].isdecimal() else -1
            self.events.append((ms, place, mark, what.removeprefix("=== ")))

    def sent(self, ms: int, place: int, to: int, frame: bytes, arrives_ms: int | None) -> None:
        if len(self.messages) >= MESSAGES_MAX:
            self.cut = True
            return
        try:
            name = Kind(kind_of(frame)).name
        except ValueError:
            name = "UNKNOWN"
        if name not in self.kinds:
            self.kinds.append(name)
        arrives = -1 if arrives_ms is None else arrives_ms
        self.messages.append((ms, place, to, arrives, self.kinds.index(name), in_words(frame)))

    def lives(self, places: int, end_ms: int) -> list[list[tuple[int, int, bool]]]:
        """For each place, from when to when it was up, and from when to when it was not."""
        found: list[list[tuple[int, int, bool]]] = []
        for place in range(places):
            stretches, since, up = [], 0, False
            for ms, whose, mark, _ in self.events:
                if whose == place and mark in ("crash", "start", "stop"):
                    stretches.append((since, ms, up))
                    since, up = ms, mark == "start"
            found.append([*stretches, (since, end_ms, up)])
        return found


def page(name: str, story: str, covers: Sequence[str], violation: str, ending: str, recorder: Recorder) -> str:
    """The page for what was recorded."""
    places = 1 + max((max(sent[1], sent[2]) for sent in recorder.messages), default=0)
    world = recorder.world
    end_ms = world.now_ms if world is not None else 0
    liars = [place for _, place, _, what in recorder.events if what.startswith("is a liar from now on")]
    facts = {
        "name": name,
        "story": story,
        "covers": list(covers),
        "violation": violation,
        "ending": ending,
        "places": places,
        "ms": end_ms,
        "liars": sorted(set(liars)),
        "lives": recorder.lives(places, end_ms),
        "kinds": recorder.kinds,
        "messages": recorder.messages,
        "events": recorder.events,
        "cut": recorder.cut,
    }
    # Inside a script element nothing may look like its end.
    text = json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c")
    return PAGE.read_text(encoding="utf-8").replace("/*DATA*/null", text, 1)
