"""The driver, over a real disk: what is promised is durable first, and nobody waits for what is not."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from bftnode.apps.execution import Executor, application_operation
from bftnode.apps.kv import KeyValue, put
from bftnode.node import driver
from bftnode.node.driver import Driver
from bftnode.node.envelopes import INLINE_MAX, Envelopes
from bftnode.node.inbox import Inbox
from bftnode.protocol import ed25519
from bftnode.protocol.blocks import Packed
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote
from bftnode.protocol.codec import Wire, encode
from bftnode.protocol.envelope import encode_frame, open_frame, seal
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.messages import FetchRun, Kind, PrePrepare, Relay, Seen, Status, open_body
from bftnode.protocol.results import TransactionResult
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction
from bftnode.replica.chain import next_entry
from bftnode.replica.core import Replica
from bftnode.replica.effects import Accuse, Answer, AppendBlock, Note
from bftnode.replica.events import Now
from bftnode.storage.errors import DiskFull
from bftnode.storage.store import Committed, Storage, Turn

CHAIN = b"the chain of a driven node, 32 b"
ME = 0
SEEDS = sorted((bytes([member]) * 32 for member in range(4)), key=ed25519.public_key_of)
CLIENT = b"c" * 32


class Town:
    """A node whose network and clients are this object; `happened` is what it did, in order."""

    def __init__(self, path: Path) -> None:
        keys = tuple(ed25519.public_key_of(seed) for seed in SEEDS)
        self.members = Membership(CHAIN, 0, keys, Parameters(checkpoint_interval=1000))
        self._happened: list[str] = []
        self._more = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self.full = False
        self.counter = 0
        executor = Executor(KeyValue(), [ed25519.public_key_of(CLIENT)], 100)
        self.storage = Storage.open(path, self.members, ME, executor, map_bytes_initial=1 << 20)
        commit, execute = self.storage.commit, self.storage.execute

        def noted_commit(turn: Turn) -> list[Committed]:
            if self.full:
                self._note_in_thread("tried")
                raise DiskFull("no room")
            done = commit(turn)
            self._note_in_thread("durable " + " ".join(sorted(turn.journal)))
            return done

        def noted_execute(append: AppendBlock) -> Committed:
            done = execute(append)
            self.note("executed")
            return done

        self.storage.commit = noted_commit  # type: ignore[method-assign]
        self.storage.execute = noted_execute  # type: ignore[method-assign]
        self.inbox = Inbox([1, 2, 3], 100, 1 << 20, 100, 100)
        self.envelopes = Envelopes(CHAIN, executor)
        replica = Replica(
            self.members,
            ME,
            ed25519.signer(SEEDS[ME]),
            ed25519.verify,
            self.envelopes.open,
            self.storage.recover(),
            Now(int(trio.current_time() * 1000), 1_000_000),
        )
        self.driver = Driver(
            replica,
            self.storage,
            self.inbox,
            self.envelopes,
            self,
            self,
            0.005,
            now=lambda: Now(int(trio.current_time() * 1000), 1_000_000),
        )

    def note(self, what: str) -> None:
        if what != "said STATUS":  # which is due now and then
            self._happened.append(what)
            self._more.set()

    def _note_in_thread(self, what: str) -> None:
        """Noted before the driver goes on, which may happen in place; who waits for it hears of it a little later."""
        self._happened.append(what)
        self._token.run_sync_soon(self._wake)

    def _wake(self) -> None:
        self._more.set()

    async def until(self, happening: str) -> list[str]:
        """All that happened since this was asked last, up to and including `happening`."""
        while happening not in self._happened:
            self._more = trio.Event()
            with trio.fail_after(10):
                await self._more.wait()
        end = self._happened.index(happening) + 1
        happened, self._happened = self._happened[:end], self._happened[end:]
        return happened

    async def commit_one(self) -> None:
        """Introduced, and a first envelope ordered, executed and told of."""
        self.introduce()
        await self.until("durable seen")
        self.inbox.submit([self.transaction(1)])
        await self.until("said PREPARE")
        self.vote(PREPARE, 1, 2)
        await self.until("said COMMIT")
        self.vote(COMMIT, 1, 2)
        await self.until("told the client")

    # ---- the mouth

    def send(self, member: int, frame: bytes) -> None:
        self.broadcast(frame)

    def broadcast(self, frame: bytes) -> None:
        self.note(f"said {Kind(open_frame(frame).kind).name}")
        body = open_body(open_frame(frame))
        if isinstance(body, PrePrepare):
            self.proposed = frame

    @contextmanager
    def together(self) -> Iterator[None]:
        yield

    # ---- the ears

    def answered(self, answers: Sequence[Answer]) -> None:
        for item in answers:
            self.note(f"answered {item.reason or 'ACK'}")

    def executed(self, results: Sequence[TransactionResult], encoded: Sequence[bytes]) -> None:
        assert [encode(result) for result in results] == list(encoded)
        self.note("told the client")

    def noted(self, note: Note) -> None:
        self.note(f"noted {note.name}")

    def accused(self, accusation: Accuse) -> None:
        raise AssertionError("nobody lies here")

    def disk_full(self, full: bool) -> None:
        self.note("disk full" if full else "disk writable")

    # ---- what others say

    def transaction(self, nonce: int) -> Transaction:
        operation = application_operation(put(b"key", b"value %d" % nonce))
        body = TransactionBody(CHAIN, ed25519.public_key_of(CLIENT), nonce, 1000, (operation,))
        return sign_transaction(body, ed25519.signer(CLIENT))

    def hear(self, member: int, kind: Kind, body: Wire, payload: bytes = b"") -> None:
        self.counter += 1
        frame = seal(CHAIN, kind, member, 1, self.counter, encode(body), ed25519.signer(SEEDS[member]), payload)
        assert self.inbox.receive(member, encode_frame(frame)) is None

    def introduce(self) -> None:
        for member in (1, 2, 3):
            self.hear(member, Kind.STATUS, Status(0, 0, True, 0, 0, 0, (Seen(0, 0, 0),) * 4))

    def vote(self, phase: int, *members: int) -> None:
        header = open_body(open_frame(self.proposed))
        assert isinstance(header, PrePrepare)
        block = self.driver.replica.agreement.tip.block
        for member in members:
            self.hear(member, Kind(phase), Vote(0, 0, block.seq, block.hash))


@pytest.fixture
async def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


@pytest.mark.covers("P13", "P52")
async def test_a_decision_takes_one_write_and_only_commit_waits_for_it(town: Town) -> None:
    """Proposal and PREPARE leave at once; COMMIT after the write; the client is told before the block is appended."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(town.driver.run)
        town.introduce()
        await town.until("durable seen")
        town.inbox.submit([town.transaction(1)])
        happened = await town.until("said PREPARE")
        assert happened == ["said PRE_PREPARE", "said PREPARE"]
        town.vote(PREPARE, 1, 2)
        happened = await town.until("said COMMIT")
        assert happened == ["answered ACK", "durable commit highest prepare", "said COMMIT"]
        town.vote(COMMIT, 1, 2)
        happened = await town.until("told the client")
        assert happened == ["executed", "told the client"]
        assert (town.storage.height, town.storage.unwritten) == (1, 1)
        # Nothing promises: what was left behind is written by itself.
        assert await town.until("durable highest") == ["durable highest"]
        assert town.storage.unwritten == 0
        nursery.cancel_scope.cancel()
    assert await town.until("durable closed") == ["durable closed"]
    town.storage.close()


@pytest.mark.covers("P13", "D01")
async def test_my_own_commit_counts_once_it_is_durable(town: Town) -> None:
    """Where it completes the quorum, clients are told after the write, and the block is not dropped by that write."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(town.driver.run)
        town.introduce()
        await town.until("durable seen")
        town.inbox.submit([town.transaction(1)])
        await town.until("said PREPARE")
        block = town.driver.replica.agreement.tip.block
        town.vote(COMMIT, 1, 2)
        town.vote(PREPARE, 1, 2)
        happened = await town.until("told the client")
        assert happened == [
            "answered ACK",
            "durable commit highest prepare",
            "said COMMIT",
            "executed",
            "told the client",
        ]
        assert town.storage.read_block(block.hash) is not None
        nursery.cancel_scope.cancel()
    town.storage.close()


@pytest.mark.covers("P13")
async def test_a_reader_of_the_log_does_not_wait_longer_than_the_write(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`settle` has what is left behind written now, however long that might have waited."""
    monkeypatch.setattr(driver, "BEHIND_MS_MAX", 10**9)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(town.driver.run)
        await town.commit_one()
        await town.driver.settle()
        assert town.storage.unwritten == 0
        await town.driver.settle()
        nursery.cancel_scope.cancel()
    town.storage.close()


@pytest.mark.covers("D04")
async def test_a_reader_of_the_log_does_not_wait_for_room(town: Town) -> None:
    """Where the disk is full the log is read as far as it is written."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(town.driver.run)
        town.introduce()
        await town.until("durable seen")
        town.inbox.submit([town.transaction(1)])
        await town.until("said PREPARE")
        town.vote(PREPARE, 1, 2)
        await town.until("said COMMIT")
        town.full = True
        town.vote(COMMIT, 1, 2)
        await town.until("told the client")
        with trio.fail_after(5):
            await town.driver.settle()
            assert town.storage.unwritten == 1
            await town.driver.settle()
        town.full = False
        await town.until("durable highest")
        assert town.storage.unwritten == 0
        nursery.cancel_scope.cancel()
    town.storage.close()


@pytest.mark.covers("D04")
async def test_a_full_disk_stops_promises_and_resumes(town: Town) -> None:
    """COMMIT is not said until there is room; ending while there is none leaves no word that all is on record."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(town.driver.run)
        town.introduce()
        await town.until("durable seen")
        town.inbox.submit([town.transaction(1)])
        await town.until("said PREPARE")
        town.full = True
        town.vote(PREPARE, 1, 2)
        assert "said COMMIT" not in await town.until("disk full")
        for _ in range(3):
            assert await town.until("tried") == ["tried"]
        town.full = False
        happened = await town.until("said COMMIT")
        assert [item for item in happened if item != "tried"] == [
            "durable commit highest prepare",
            "noted disk_writable_again",
            "disk writable",
            "said COMMIT",
        ]
        town.full = True
        nursery.cancel_scope.cancel()
    assert await town.until("tried") == ["tried"]
    town.full = False
    town.storage.close()


@pytest.mark.covers("P13", "D01")
async def test_what_was_stopped_in_order_need_not_abstain(town: Town, tmp_path: Path) -> None:
    """The next life finds its PREPARE on record, and that this is all."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(town.driver.run)
        town.introduce()
        await town.until("durable seen")
        town.inbox.submit([town.transaction(1)])
        await town.until("said PREPARE")
        nursery.cancel_scope.cancel()
    town.storage.close()
    again = Town(tmp_path)
    assert again.driver.replica.agreement.abstain == (0, 0)
    assert again.driver.replica.agreement.tip.block.seq == 1
    again.storage.close()


@pytest.mark.covers("P32", "P33")
async def test_a_member_cannot_have_others_verify_what_leads_to_nothing(town: Town) -> None:
    """Envelopes of a RELAY are verified before the turn; those of a proposal for a view that may never come are not:
    one frame of them would hold up every turn for seconds."""
    relayed, stuffed = town.transaction(1), [town.transaction(nonce) for nonce in range(2, 6)]
    header = next_entry(town.driver.replica.chain.head, stuffed, town.members, 1, 1, 1_000_000).block.header_raw
    async with trio.open_nursery() as nursery:
        nursery.start_soon(town.driver.run)
        town.introduce()
        await town.until("durable seen")
        town.hear(1, Kind.PRE_PREPARE, PrePrepare(0, 1, header), encode(tuple(item.raw for item in stuffed)))
        town.hear(1, Kind.RELAY, Relay(0), encode((relayed.raw,)))
        await town.until("said PREPARE")
        assert town.envelopes.verified(relayed.raw) is not None
        assert all(town.envelopes.verified(item.raw) is None for item in stuffed)
        nursery.cancel_scope.cancel()
    town.storage.close()


@pytest.mark.covers("P32", "P33")
async def test_a_turn_waits_for_no_query(town: Town) -> None:
    """While clients' queries use all of trio's threads, and more queue, envelopes are verified all the same."""
    over = threading.Event()
    relayed = tuple(town.transaction(nonce).raw for nonce in range(1, INLINE_MAX + 2))
    async with trio.open_nursery() as nursery:
        try:
            for _ in range(2 * int(trio.to_thread.current_default_thread_limiter().total_tokens)):
                nursery.start_soon(trio.to_thread.run_sync, over.wait, 60)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(town.driver.run)
            town.introduce()
            await town.until("durable seen")
            town.hear(1, Kind.RELAY, Relay(0), encode(relayed))
            await town.until("said PREPARE")
        finally:
            over.set()
        nursery.cancel_scope.cancel()
    town.storage.close()


@pytest.mark.covers("A18")
async def test_a_run_is_read_beside_the_turns(town: Town) -> None:
    """Who catches up holds up nobody: while its blocks are read, others are decided; and what is written is not
    written again for it."""
    reading, read_run = threading.Event(), town.storage.read_run

    def slowly(first: int, last: int) -> tuple[tuple[Packed, ...], Certificate] | None:
        assert reading.wait(10)
        return read_run(first, last)

    town.storage.read_run = slowly  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(town.driver.run)
        town.introduce()
        await town.until("durable seen")
        for nonce in (1, 2):
            town.inbox.submit([town.transaction(nonce)])
            await town.until("said PREPARE")
            town.vote(PREPARE, 1, 2)
            await town.until("said COMMIT")
            town.vote(COMMIT, 1, 2)
            assert "said RUN" not in await town.until("told the client")
            if nonce == 1:
                await town.driver.settle()
                town.hear(3, Kind.FETCH_RUN, FetchRun(0, 1, 1))
        reading.set()
        await town.until("said RUN")
        nursery.cancel_scope.cancel()
    town.storage.close()


async def test_what_is_asked_for_is_written_before_it_is_read(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that is executed and not in the log yet is one that others may lack."""
    monkeypatch.setattr(driver, "BEHIND_MS_MAX", 10**9)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(town.driver.run)
        await town.commit_one()
        assert town.storage.unwritten == 1
        town.hear(3, Kind.FETCH_RUN, FetchRun(0, 1, 256))
        await town.until("said RUN")
        assert town.storage.unwritten == 0
        nursery.cancel_scope.cancel()
    town.storage.close()
