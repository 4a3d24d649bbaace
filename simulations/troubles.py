"""Words for scenario files (script.py): lines, clocks and disks that give trouble, and clients that do.

A word is a function of the play and of its step; the docstring says which of the step's fields it reads.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from bftnode.protocol.codec import encode
from bftnode.protocol.errors import Refused
from bftnode.protocol.messages import Kind, Relay
from simulations.adversaries.liar import Liar
from simulations.node import Node
from simulations.world import Violation

if TYPE_CHECKING:
    from simulations.script import Play, Step


def _clog(play: "Play", step: "Step") -> None:
    """For `ms`, nothing arrives between `members` and `to` (the others, where it is left out); then all of it does."""
    play.stage.network.clog(step.members, play.rest(step), step.ms)


def _line(play: "Play", step: "Step") -> None:
    """The lines of `members` carry so many `kbit_s`, each way, from now on; 0: as much as there is."""
    for node in play.chosen(step):
        if step.kbit_s:
            play.stage.network.kbit_s[node.place] = step.kbit_s
        else:
            play.stage.network.kbit_s.pop(node.place, None)


def _drift(play: "Play", step: "Step") -> None:
    """Both clocks run `ppm` millionths fast (or slow) from now on (T03)."""
    for node in play.chosen(step):
        node.drift(step.ppm)


def _crash_in_write(play: "Play", step: "Step") -> None:
    """The next write is never finished: the power goes 1 ms after it began (D02)."""
    for node in play.chosen(step):
        node.sync_delay_ms = partial(_fatal, play, node, node.sync_delay_ms)


def _fatal(play: "Play", node: Node, usual: Callable[[], int]) -> int:
    node.sync_delay_ms = usual
    play.stage.world.after(1, node.crash)
    return 2


def _fill(play: "Play", step: "Step") -> None:
    """Nothing more can be written: what would be promised waits (D04)."""
    for node in play.chosen(step):
        node.disk.full = True


def _free(play: "Play", step: "Step") -> None:
    """There is room on the disk again."""
    for node in play.chosen(step):
        node.disk.full = False


def _tear(play: "Play", step: "Step") -> None:
    """The next write ends in the middle of a record, and the power goes with it (D03)."""
    for node in play.chosen(step):
        node.disk.tear_next(play.dice)


def _flip(play: "Play", step: "Step") -> None:
    """`count` bits flip in records of `what` (journal, blocks, log, state). A log rots while the node runs; for the
    rest the machine goes down and comes back (D06)."""
    for node in play.chosen(step):
        places = node.disk.places(step.what)
        if not places:
            raise Violation("scenario", f"{node.name} has nothing on its disk that could rot")
        if step.what != "log":
            node.crash()
        for place in play.dice.sample(places, min(step.count, len(places))):
            node.disk.flip(place, play.dice)
        if not node.up:
            node.start()


def _misdirect(play: "Play", step: "Step") -> None:
    """A record of `what` is written where another one belongs; the machine goes down and comes back (D14)."""
    for node in play.chosen(step):
        node.crash()
        source, target = play.dice.sample(node.disk.places(step.what), 2)
        node.disk.misdirect(source, target)
        node.start()


def _refused(play: "Play", step: "Step") -> None:
    """`members` do not run, because their disks are not what was written on them."""
    for node in play.chosen(step):
        if node.up or not node.refused:
            raise Violation("scenario", f"{node.name} runs on a damaged disk")


def _equivocate(play: "Play", step: "Step") -> None:
    """`client` signs `count` times two envelopes under one nonce; `members` get one of them, `to` the other (A01).
    One of them at most is executed; nobody waits for either."""
    for _ in range(step.count):
        one, other = play.stage.transactions_of_one_nonce(step.client)
        for place in step.members:
            play.stage.nodes[place].submit(one)
        for place in play.rest(step):
            play.stage.everywhere[place].submit(other)


def _jump(play: "Play", step: "Step") -> None:
    """`client` signs an envelope with the highest nonce there is (A06); what it signs afterwards is as usual."""
    for node in play.chosen(step):
        node.submit(play.stage.transaction(step.client, nonce=2**63 - 1))


def _storm(play: "Play", step: "Step") -> None:
    """Everything that was ever submitted is submitted again, `count` times, one round each `every_ms` (A04)."""
    for _ in range(step.count):
        for node in play.chosen(step):
            if node.up:
                node.submit(*play.submitted)
        play.stage.run(step.every_ms)


def _half_valid(play: "Play", step: "Step") -> None:
    """Envelopes of `client` whose signature is of other bytes: no door opens for them, and every liar relays them to
    everybody (A03)."""
    for _ in range(step.count):
        raw = play.stage.transaction(step.client).raw
        spoilt = raw[:-1] + bytes((raw[-1] ^ 1,))
        try:
            play.stage.envelopes.open(spoilt)
        except Refused:
            pass
        else:
            raise Violation("validity", "an envelope that its client did not sign is let in")
        for node in play.stage.everywhere:
            if isinstance(node, Liar) and node.up:
                relay = Relay(node.members.epoch)
                others = [member for member in range(node.members.n) if member != node.member]
                node.post(others, node.seal(Kind.RELAY, relay, encode((spoilt, raw))))


TROUBLES: dict[str, Callable[["Play", "Step"], None]] = {
    "clog": _clog,
    "line": _line,
    "drift": _drift,
    "crash in write": _crash_in_write,
    "fill disk": _fill,
    "free disk": _free,
    "tear write": _tear,
    "flip bit": _flip,
    "misdirect write": _misdirect,
    "refused": _refused,
    "equivocate": _equivocate,
    "jump nonce": _jump,
    "storm": _storm,
    "half-valid": _half_valid,
}
