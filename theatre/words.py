"""What of a scenario file has a form on real processes, and why the rest has none.

Everything is named here, what has no form *yet* too: a test holds every word, field and behaviour of the simulator to
one of these tables. A scenario that needs what has no form is not played, and says so.
"""

from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from typing import Any

from simulations.script import Expect, LiarScript, Script, Step

FORMLESS_WORDS = {
    "slow disk": "the disk below LMDB is this machine's: nothing in user space makes its writes slow",
    "clock": "the members of one machine have one clock",
    "drift": "the members of one machine have one clock",
    "crash in write": "kill -9 comes between two system calls: what was handed to the kernel is written whole",
    "tear write": "kill -9 tears nothing that was handed to the kernel",
    "fill disk": "the members of one machine share one disk",
    "free disk": "the members of one machine share one disk",
}
"""Words of the simulator that real processes on one machine cannot mean, and why."""

YET = "has no form on real processes yet"

WORDS_NOT_YET: frozenset[str] = frozenset()
"""Words that could be given a form."""

WORDS = {
    "submit": "by the real client library, which speaks to every member that it reaches: `members` picks nobody",
    "resubmit": "nothing to do: the client library repeats what has no outcome by itself",
    "crash": "kill -9, and its end is waited for",
    "stop": "SIGTERM, and its end is waited for",
    "start": "a new process; the play's clock stands still until it says node_started",
    "pause": "SIGSTOP",
    "resume": "SIGCONT",
    "copy disk": "SIGSTOP, copy of the data directory, SIGCONT",
    "put disk back": "kill -9, the copy in place of the data directory, start",
    "wipe disk": "kill -9, an empty data directory, start",
    "flip bit": "kill -9 (a log rots while its member runs), bits of records of `what` in data.mdb by seed, start",
    "misdirect write": "kill -9, one record of `what` as another one's by LMDB itself, start",
    "refused": "down, exit code not 0, node_stopped with an IntegrityError: at its start, or when it met the damage",
    "late writes": "nothing to do: a daemon writes what promises nothing up to 100 ms late, and kill -9 loses it",
    "cut": "the proxy forwards nothing between them until `join`; what was sent waits, as TCP has it",
    "one-way cut": "the same in one direction; connections that are made meanwhile get nowhere",
    "join": "the proxy forwards again, what waited first",
    "clog": "a cut that ends by itself",
    "line": "the proxy forwards what a member sends, and what it is sent, at that speed (the file's, by the stretch)",
    "weather": "delay and loss of pieces of TCP streams; duplicates and reordering TCP hides from its users",
    "fair": "no more delay, loss or cuts; who is down is started",
    "height at most": "by the members' own status",
    "height at least": "by the members' own status, which may come LATE_S late",
    "equivocate": "a client that lies (liar_client.py) tells `members` one envelope and `to` another, under one nonce",
    "jump nonce": "the same, with nonces beyond what is let in: each member that hears it says REJECT",
    "storm": "all that was submitted again, to every member in one frame, so often; each answers",
    "half-valid": "to each member a frame of good, forged and senseless envelopes: RESULT for those, REJECT for these",
}

FIELDS: dict[type, frozenset[str]] = {
    Step: frozenset(
        (
            "at_ms",
            "do",
            "members",
            "to",
            "count",
            "every_ms",
            "client",
            "ms",
            "loss",
            "duplicate",
            "delay_max_ms",
            "height",
            "tail_ms",
            "kbit_s",
            "what",
        )
    ),
    LiarScript: frozenset(("behaviours", "from_ms", "probability", "heights", "views", "kinds")),
    Expect: frozenset(("executed", "within_ms", "view_at_least", "view_at_most", "accused")),
    Script: frozenset(("story", "covers", "step", "n", "window", "seed", "liars", "amnesiacs", "expect")),
}
"""Fields that mean something here; any other one that is set makes a scenario formless."""

FIELDS_NOT_YET: dict[type, frozenset[str]] = {
    Step: frozenset(("ppm",)),
    LiarScript: frozenset(),
    Expect: frozenset(),
    Script: frozenset(),
}
"""Fields that could be given a form."""

BEHAVIOURS = frozenset(
    (
        "equivocating primary",
        "lying view change",
        "silent",
        "vote equivocator",
        "selective",
        "invalid signature",
        "view spammer",
        "flooder",
        "replayer",
        "run liar",
        "fabricator",
        "censor",
        "slow primary",
        "body withholder",
        "new-view liar",
        "checkpoint liar",
        "shrinking height",
        "size bomber",
        "crooked certificate",
        "other kind",
        "other cluster",
        "old epoch",
        "framer",
        "fork forger",
        "complainer",
        "decisive vote",
        "hidden certificate",
        "late equivocator",
    )
)
"""Behaviours that ask for nothing that theatre/malicious.py does not offer."""

BEHAVIOURS_NOT_YET: frozenset[str] = frozenset()
"""Behaviours that would need more than theatre/malicious.py offers."""

FORMLESS_BEHAVIOURS = {
    "twins": "two processes of one identity: members keep the newest connection of each, so the two silence each other",
}

MATTERS_OF_MILLISECONDS: dict[str, tuple[str, str]] = {
    "amnesia-of-tendermint": (
        "accused",
        "whether n1 finds something to hide depends on which of n0's messages had left when it died, 6 ms after a "
        "submission",
    ),
    "another-kinds-signatures": (
        "view_at_most",
        "n1 waits for a vote that comes again with STATUS; whether that comes before the timeout is not certain",
    ),
    "opportunists": (
        "accused",
        "n1 hides a certificate only where it has counted few COMMITs, and what it has counted when is not certain",
    ),
    "two-new-views": (
        "accused",
        "n1's two NEW-VIEWs differ where it has heard of different VIEW-CHANGEs, and which come first is not certain",
    ),
}
"""By scenario, the expectation that is not asked for here, and why: the simulator's seed decides it there."""

SCHEDULE = "it is a schedule in Python, which picks single messages: a proxy sees bytes under TLS"


def asked(name: str, expect: Expect) -> Expect:
    """What is asked of the scenario of this name."""
    if name not in MATTERS_OF_MILLISECONDS:
        return expect
    left_out = MATTERS_OF_MILLISECONDS[name][0]
    return replace(expect, **{left_out: getattr(Expect(), left_out)})


LINE_KBIT_S_LEAST = 32
"""A narrower line has no form: divided by the stretch, it carries less than the STATUS of three members with TLS around
them. The simulator's line drops what waits for over five seconds; TCP queues it, and what matters never comes."""


def why_formless(script: Script) -> str | None:
    """Why it cannot be played by real processes, or None where it can."""
    return next(_reasons(script), None)


def _reasons(script: Script) -> Iterator[str]:
    yield from _fields_of(script)
    yield from _fields_of(script.expect)
    for step in script.step:
        if step.do in FORMLESS_WORDS:
            yield f"{step.do!r}: {FORMLESS_WORDS[step.do]}"
        elif step.do not in WORDS:
            yield f"{step.do!r} {YET}"
        elif step.do == "line" and 0 < step.kbit_s < LINE_KBIT_S_LEAST:
            yield f"'line' of {step.kbit_s} kbit/s: STATUS alone fills it, and TCP drops nothing"
        yield from _fields_of(step)
    for _, liar in sorted(script.liars.items()):
        for name in liar.behaviours:
            if name in FORMLESS_BEHAVIOURS:
                yield f"{name!r}: {FORMLESS_BEHAVIOURS[name]}"
            elif name not in BEHAVIOURS:
                yield f"behaviour {name!r} {YET}"
        yield from _fields_of(liar)


def _fields_of(item: Any) -> Iterator[str]:
    for one in fields(item):
        if one.name in FIELDS[type(item)]:
            continue
        usual = one.default_factory() if one.default_factory is not MISSING else one.default
        if getattr(item, one.name) != usual:
            yield f"{type(item).__name__}.{one.name} {YET}"
