"""Short worlds of four members that, together, write every kind of record there is. Each is the same every time.

A world's script goes by the clock and submits to whoever is up; what it wants executed is submitted again in the end,
as clients do, so that no crash spoils the script.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from bftnode.protocol.codec import decode, encode
from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import Kind
from bftnode.protocol.transactions import Transaction
from bftnode.replica.nonces import QuarantineRecord
from bftnode.replica.position import Quarantine
from simulations.adversaries.equivocating_primary import EquivocatingPrimary
from simulations.adversaries.liar import Behaviour
from simulations.crashpoints.mortal import DOWN_MS, NEW_DISK_MS, Arena, Blow, Mortal
from simulations.world import Violation

LIVENESS_MS = 30_000
"""Within so long everything that was asked for is done, whatever the crash."""

ASKED_AGAIN_MS = 500

FORGETS = 2
"""The member whose disk is put back in `quarantine`."""


@dataclass(frozen=True, slots=True)
class ShortWorld:
    """A script and the stage that it wants. `liars` makes its own, fresh ones."""

    name: str
    story: str
    script: Callable[[Arena], list[Transaction]]
    parameters: Parameters = field(default_factory=lambda: Parameters(block_transactions_max=1, checkpoint_interval=4))
    cosigns: bool = False
    faulty: tuple[int, ...] = ()
    liar: int | None = None

    def may_forget(self, member: int) -> bool:
        """Whether the disk of `member` may break its word: nobody else does, f = 1."""
        return self.liar is None and self.faulty in ((), (member,))


def _normal(stage: Arena) -> list[Transaction]:
    wanted = []
    for pause_ms in (0, 0, 30, 60, 5, 40):
        wanted.append(stage.submit())
        stage.run(pause_ms)
    return wanted


def _view_change(stage: Arena) -> list[Transaction]:
    wanted = [stage.submit()]
    stage.run(60)
    # Height 2 is prepared in view 0 and decided in view 1.
    stage.lose(lambda place, to, kind, view, seq: kind == Kind.COMMIT and (view, seq) == (0, 2))
    wanted.append(stage.submit())
    stage.run(30)
    stage.isolate(0)
    wanted.append(stage.submit(1, 2, 3))
    stage.run(1200)
    stage.lose(None)
    stage.network.join()
    stage.run(300)
    return wanted


def _two_view_changes(stage: Arena) -> list[Transaction]:
    wanted = [stage.submit()]
    stage.run(60)
    for primary in (0, 1):
        stage.isolate(primary)
        wanted.append(stage.submit(*(place for place in range(4) if place != primary)))
        stage.run(900)
        stage.network.join()
        stage.run(200)
    return wanted


def _view_over(stage: Arena) -> list[Transaction]:
    wanted = [stage.submit()]
    stage.run(60)
    stage.isolate(0)
    wanted.append(stage.submit(1, 2, 3))
    stage.run(1000)
    # What it hears of view 1 is a certificate, and no NEW-VIEW.
    stage.lose(lambda place, to, kind, view, seq: to == 0 and kind == Kind.NEW_VIEW)
    stage.network.join()
    wanted.append(stage.submit(1, 2, 3))
    stage.run(500)
    stage.lose(None)
    stage.run(300)
    return wanted


def _catch_up(stage: Arena) -> list[Transaction]:
    wanted = [stage.submit()]
    stage.run(40)
    stage.isolate(3)
    for _ in range(6):
        wanted.append(stage.submit(0, 1, 2))
        stage.run(25)
    stage.network.join()
    stage.run(600)
    return wanted


def _checkpoints(stage: Arena) -> list[Transaction]:
    wanted = []
    for _ in range(4):
        wanted.append(stage.submit())
        stage.run(50)
    stage.run(400)
    return wanted


def _stops(stage: Arena) -> list[Transaction]:
    wanted = []
    for place in range(4):
        wanted.append(stage.submit())
        stage.run(10)
        stage.nodes[place].stop()
        stage.run(40)
        stage.up(stage.nodes[place])
        stage.run(150)
    return wanted


def _quarantine(stage: Arena) -> list[Transaction]:
    wanted = [stage.submit()]
    stage.run(40)
    forgets = stage.nodes[FORGETS]
    image = forgets.disk.image()
    forgets.crash()
    stage.up(forgets)
    stage.run(300)
    wanted.append(stage.submit())
    stage.run(60)
    forgets.crash()
    forgets.disk.put_back(image)
    stage.up(forgets)
    stage.run(500)
    wanted.append(stage.submit())
    stage.run(100)
    # The operator decides, offline.
    forgets.crash()
    raw = forgets.disk.journal.get("quarantine")
    if raw is not None and decode(raw, QuarantineRecord, 64).state == Quarantine.WAITING:
        forgets.disk.journal["quarantine"] = encode(QuarantineRecord(Quarantine.ALLOWED, 0, 0))
    stage.up(forgets)
    stage.run(1200)
    for _ in range(4 * stage.members.parameters.window + 2):
        wanted.append(stage.submit())
        stage.run(40)
    return wanted


def _evidence(stage: Arena) -> list[Transaction]:
    wanted = []
    for _ in range(3):
        wanted.append(stage.submit(client=0))
        wanted.append(stage.submit(client=1))
        stage.run(200)
    stage.run(900)
    return wanted


WORLDS = (
    ShortWorld("normal", "six envelopes, some of them in flight together, past a checkpoint", _normal),
    ShortWorld(
        "view-change", "a block is prepared in view 0 and decided in view 1, whose primary finds it", _view_change
    ),
    ShortWorld("two-view-changes", "two primaries are cut off, one after the other, and come back", _two_view_changes),
    ShortWorld("view-over", "a primary that was cut off learns from a certificate that its view is over", _view_over),
    ShortWorld("catch-up", "a member is cut off for six blocks, and fetches them", _catch_up),
    ShortWorld(
        "checkpoints",
        "every second block is cosigned, and the cosigned checkpoint kept",
        _checkpoints,
        Parameters(block_transactions_max=1, checkpoint_interval=2),
        cosigns=True,
    ),
    ShortWorld("stops", "every member is stopped in order and started again, one after the other", _stops),
    ShortWorld(
        "quarantine",
        "a member's disk is put back: quarantine, the operator's word, probation, and a vote again",
        _quarantine,
        Parameters(block_transactions_max=1, checkpoint_interval=4, window=1),
        faulty=(FORGETS,),
    ),
    ShortWorld(
        "evidence", "the primary proposes two blocks at one height; who sees both accuses it", _evidence, liar=0
    ),
)


def play(
    world: ShortWorld, victim: int, blows: Sequence[Blow] = (), *, remember: int = 0
) -> tuple[Arena, Violation | None]:
    """The whole of a world in which `victim` dies at `blows`, and what was violated in it."""
    liars: dict[int, list[Behaviour]] = {}
    if world.liar is not None:
        behaviour = EquivocatingPrimary(Random("crashpoints"))
        behaviour.votes_for_both, behaviour.often = True, 1.0
        liars[world.liar] = [behaviour]
    stage = Arena(
        victim,
        blows,
        liars=liars,
        faulty=world.faulty,
        parameters=world.parameters,
        cosigns=world.cosigns,
        remember=remember,
    )
    try:
        _conclude(stage, world.script(stage))
    except Violation as violation:
        return stage, violation
    return stage, None


def _conclude(stage: Arena, wanted: list[Transaction]) -> None:
    """The world is kind: all are up, and everything is done, by everybody who is no liar, forgetful ones included."""
    stage.run(DOWN_MS + NEW_DISK_MS)
    for node in stage.nodes:
        stage.up(node)
    wanted.append(stage.submit())
    mortals = [node for node in stage.nodes if isinstance(node, Mortal)]

    def done() -> bool:
        height = len(stage.judge.log) - 1
        executed = stage.judge.executed
        return all(item.key in executed for item in wanted) and all(
            node.up and node.disk.height == height and (may_vote(node) or not stage.judge.is_correct(node))
            for node in mortals
        )

    ends_ms = stage.world.now_ms + LIVENESS_MS
    while not stage.run(ASKED_AGAIN_MS, done):
        if stage.world.now_ms >= ends_ms:
            missing = [str(item.key[1]) for item in wanted if item.key not in stage.judge.executed]
            stand = ", ".join(f"{node.name} {node.disk.height if may_vote(node) else 'mute'}" for node in mortals)
            raise Violation("liveness", f"not executed: {', '.join(missing) or 'nothing'}; heights: {stand}")
        for item in wanted:
            for node in stage.nodes if item.key not in stage.judge.executed else ():
                node.submit(item)
        for node in mortals:
            node.replace_disk()
    logs = {tuple(block.hash for block, _ in node.disk.log) for node in mortals}
    if len(logs) != 1:
        raise Violation("equal-logs", "members end with different logs")


def may_vote(node: Mortal) -> bool:
    """It runs, has heard of a quorum what they saw of it, and nothing forbids it to vote."""
    return node.up and node.replica.position.may_vote
