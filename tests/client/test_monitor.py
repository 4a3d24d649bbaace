"""The monitor: quiet over an honest cluster, and one alarm for each way of not being one."""

import pytest
import trio

from bftnode.apps import kv
from bftnode.apps.execution import application_operation
from bftnode.client.growth import Growth, SignedCheckpoint
from bftnode.client.monitor import Alarm, AlarmKind, Monitor
from bftnode.protocol import client_messages as cm
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.merkle import consistency_proof, inclusion_proof
from bftnode.protocol.transactions import TransactionBody, sign_transaction
from tests.api.town import ADMINISTRATOR, Ledger, Town

STALE_S = 10.0


class Shown:
    """What each member shows: a ledger, its own or everybody's."""

    def __init__(self, *ledgers: Ledger) -> None:
        self.ledgers = list(ledgers)
        self.frozen: dict[int, int] = {}  # member -> the largest size that it shows
        self.silent: set[int] = set()
        self.false_entries: set[int] = set()

    def _ledger(self, member: int) -> Ledger:
        if member in self.silent:
            raise Refused(Reason.NOT_READY, "not connected")
        return self.ledgers[member]

    async def checkpoint_of(self, member: int, size: int | None, wait_s: float) -> bytes:
        ledger = self._ledger(member)
        if size is not None and size > self.frozen.get(member, 10**9):
            size = 10**9
        try:
            return ledger.checkpoint(size)
        except Refused:
            await trio.sleep(wait_s)
            raise

    async def consistency_of(self, member: int, old: int, new: int) -> tuple[bytes, ...]:
        ledger = self._ledger(member)
        if new > len(ledger.entries):
            raise Refused(Reason.NOT_FOUND, "no such size")
        return tuple(consistency_proof(old, new, ledger.node_at))

    async def entry_of(self, member: int, index: int, size: int) -> tuple[cm.Entry, tuple[bytes, ...]]:
        ledger = self._ledger(member)
        entry = ledger.entries[index]
        if member in self.false_entries and index == 1:
            entry = cm.Entry(entry.index, entry.seq, entry.time_ms, entry.envelope + b"x")
        return entry, tuple(inclusion_proof(index, size, ledger.node_at))

    async def log_size_of(self, member: int) -> int:
        return len(self._ledger(member).entries)


def grow(ledger: Ledger, *words: bytes) -> None:
    """One block a word."""
    for word in words:
        nonce = len(ledger.entries) + 1
        body = TransactionBody(
            ledger.members.chain_id,
            public_key_of(ADMINISTRATOR),
            nonce,
            10**6,
            (application_operation(kv.put(word, b"x")),),
        )
        transaction = sign_transaction(body, signer(ADMINISTRATOR))
        ledger.pending[transaction.id] = transaction
        ledger.order()


class Watching:
    """A monitor over `shown`, and what it said."""

    def __init__(self, town: Town, shown: Shown, growth: Growth | None = None) -> None:
        self.alarms: list[Alarm] = []
        self.seen: list[tuple[int, int]] = []
        self.growth = growth or Growth(town.genesis.policy())
        self.monitor = Monitor(shown, range(4), self.growth, self._alarm, self._saw, stale_s=STALE_S)

    async def _alarm(self, alarm: Alarm) -> None:
        self.alarms.append(alarm)

    def _saw(self, member: int, signed: SignedCheckpoint) -> None:
        self.seen.append((member, signed.checkpoint.size))

    @property
    def kinds(self) -> list[tuple[AlarmKind, int | None]]:
        return [(alarm.kind, alarm.member) for alarm in self.alarms]


async def test_an_honest_cluster_raises_nothing(town: Town, autojump_clock: trio.testing.MockClock) -> None:
    """Every checkpoint of every member is seen, a slow member's and one's that is away for a while, too."""
    ledger = town.ledger()
    grow(ledger, b"a", b"b", b"c")
    shown = Shown(*[ledger] * 4)
    watching = Watching(town, shown)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watching.monitor.run)
        await trio.sleep(3)
        shown.silent.add(2)
        grow(ledger, b"d", b"e")
        await trio.sleep(STALE_S / 2)
        shown.silent.clear()
        await trio.sleep(10 * STALE_S)
        nursery.cancel_scope.cancel()
    assert not watching.alarms
    for member in range(4):
        assert [size for one, size in watching.seen if one == member] == [1, 2, 3, 4, 5]


@pytest.mark.covers("X02", "X04", "X05")
async def test_two_histories_are_a_fork(town: Town, autojump_clock: trio.testing.MockClock) -> None:
    """Each cosigned by a quorum, shown by different members: with both checkpoints, whatever their sizes."""
    for other_words in ((b"a", b"y"), (b"a", b"y", b"z")):
        one, other = town.ledger(), town.ledger()
        grow(one, b"a", b"b")
        grow(other, *other_words)
        watching = Watching(town, Shown(one, one, one, other))
        await watching.monitor.once()
        assert watching.kinds == [(AlarmKind.FORK, None)]
        assert len(watching.alarms[0].notes) == 2


@pytest.mark.covers("O04", "X04")
async def test_a_rewritten_log_is_not_the_one_that_was_verified(
    town: Town, autojump_clock: trio.testing.MockClock
) -> None:
    """All members at once, between two lives of the monitor: its memory is the only one left."""
    before, after = town.ledger(), town.ledger()
    grow(before, b"a", b"b")
    first = Watching(town, Shown(*[before] * 4))
    assert await first.monitor.once() == 4
    grow(after, b"x", b"y", b"z")
    second = Watching(town, Shown(*[after] * 4), first.growth)
    await second.monitor.once()
    assert {kind for kind, _ in second.kinds} == {AlarmKind.REWRITE, AlarmKind.FORK}


@pytest.mark.covers("D16")
async def test_a_member_whose_own_log_was_rewritten_is_named(
    town: Town, autojump_clock: trio.testing.MockClock
) -> None:
    """It still shows the cluster's checkpoints, but no longer their entries; or no longer their tree."""
    ledger = town.ledger()
    grow(ledger, b"a", b"b", b"c")
    shown = Shown(*[ledger] * 4)
    shown.false_entries.add(2)
    watching = Watching(town, shown)
    await watching.monitor.once()
    assert watching.kinds == [(AlarmKind.REWRITE, 2)]

    class OtherTree(Ledger):
        def node_at(self, level: int, place: int) -> bytes:
            return bytes(32) if (level, place) == (0, 0) else super().node_at(level, place)

    other = town.ledger()
    other.__class__ = OtherTree
    grow(other, b"a", b"b", b"c")
    watching = Watching(town, Shown(ledger, ledger, ledger, other))
    await watching.monitor.once()
    assert watching.kinds == [(AlarmKind.REWRITE, 3)]


async def test_a_stale_view_is_told_once_until_it_ends(town: Town, autojump_clock: trio.testing.MockClock) -> None:
    """One member shows the past; then nobody cosigns what is appended. Both are told after a while, and not before."""
    ledger = town.ledger()
    grow(ledger, b"a")
    shown = Shown(*[ledger] * 4)
    watching = Watching(town, shown)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watching.monitor.run)
        await trio.sleep(3)
        shown.frozen = {1: 1}
        grow(ledger, b"b")
        await trio.sleep(STALE_S - 2)
        assert not watching.alarms
        await trio.sleep(5 * STALE_S)
        assert watching.kinds == [(AlarmKind.STALE, 1)]
        shown.frozen = {}
        await trio.sleep(3)
        shown.frozen = dict.fromkeys(range(4), 2)
        grow(ledger, b"c")
        await trio.sleep(5 * STALE_S)
        nursery.cancel_scope.cancel()
    assert watching.kinds == [(AlarmKind.STALE, 1), (AlarmKind.STALE, None)]


async def test_a_checkpoint_of_too_few_is_invalid(town: Town, autojump_clock: trio.testing.MockClock) -> None:
    """One cosignature less than a quorum, shown by one member: its word is not believed, and it is named."""
    ledger, weak = town.ledger(), town.ledger()
    grow(ledger, b"a")
    grow(weak, b"a")
    weak.cosigners = weak.cosigners[:2]
    watching = Watching(town, Shown(ledger, ledger, weak, ledger))
    await watching.monitor.once()
    assert watching.kinds == [(AlarmKind.INVALID, 2)]
