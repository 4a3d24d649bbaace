"""What waits for the replica: one bounded queue a peer, drained round robin, and one for clients.

A peer whose queue is full is not read from until it has room (its reader waits here): it slows down nobody but
itself (faults.md P33, W14). Clients are answered BUSY at their bound.

A turn costs more than most of what it is about, so what cannot matter yet waits for company (decision 018): votes until
there are as many as `expect` was told, and submissions where somebody else proposes.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import trio

from bftnode.protocol.envelope import peek_kind
from bftnode.protocol.messages import VOTES
from bftnode.protocol.transactions import Transaction
from bftnode.replica.events import Event, Received, Submitted


class PeerQueue:
    """Frames of one peer."""

    __slots__ = ("bytes", "frames", "room")

    def __init__(self) -> None:
        self.frames: deque[bytes] = deque()
        self.bytes = 0
        self.room: trio.Event | None = None  # somebody waits for it


class Inbox:
    """Filled by connections, emptied by the driver, in one event loop."""

    def __init__(
        self, members: Sequence[int], frames_max: int, bytes_max: int, submissions_max: int, turn_frames_max: int
    ) -> None:
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self._submissions_max = submissions_max
        self._turn_frames_max = turn_frames_max
        self._peers = {member: PeerQueue() for member in members}
        self._submissions: list[Transaction] = []
        self._events: deque[Event] = deque()
        self._wake = trio.Event()
        self._votes = 0  # that wait
        self._votes_wanted = 1
        self._remind: Callable[[], None] | None = None

    def receive(self, member: int, frame: bytes) -> Awaitable[None] | None:
        """Take a frame of a peer. While its queue is full: what to await before the next one is read."""
        queue = self._peers[member]
        if self._is_full(queue):
            self._wake.set()  # it may be full of what woke nobody
            return self._receive_later(queue, frame)
        self._append(queue, frame)
        return None

    async def _receive_later(self, queue: PeerQueue, frame: bytes) -> None:
        while self._is_full(queue):
            queue.room = queue.room or trio.Event()
            await queue.room.wait()
        self._append(queue, frame)

    def _is_full(self, queue: PeerQueue) -> bool:
        return len(queue.frames) >= self._frames_max or queue.bytes >= self._bytes_max

    def _append(self, queue: PeerQueue, frame: bytes) -> None:
        queue.frames.append(frame)
        queue.bytes += len(frame)
        if peek_kind(frame) in VOTES:
            self._votes += 1
            if self._votes < self._votes_wanted:
                return
        self._wake.set()

    def submit(self, transactions: Sequence[Transaction]) -> bool:
        """Take opened client envelopes; False: full, try again."""
        if len(self._submissions) + len(transactions) > self._submissions_max:
            return False
        if self._remind is None:
            self._wake.set()
        elif not self._submissions:
            self._remind()
        self._submissions.extend(transactions)
        return True

    def put(self, event: Event) -> None:
        """Take an event of our own making (bounded by what caused it)."""
        self._events.append(event)
        self._wake.set()

    def wake(self) -> None:
        """Let whoever waits look again."""
        self._wake.set()

    def expect(self, votes: int, remind: Callable[[], None] | None) -> None:
        """Until this is said again: fewer votes than `votes` wake nobody, nor do submissions, of which `remind` is told
        where it is not None. They are taken with whatever comes next."""
        self._votes_wanted, self._remind = votes, remind
        if self._votes >= votes or (self._submissions and remind is None):
            self._wake.set()

    async def wait(self) -> None:
        """Until there is something to do. Lets others have their turn in any case."""
        await self._wake.wait()

    def take(self) -> list[Event]:
        """One turn's events: ours first, then a bounded number of every peer's, then all submissions."""
        events = list(self._events)
        self._events.clear()
        self._votes = 0
        left = False
        for member, queue in self._peers.items():
            frames = queue.frames
            for _ in range(min(len(frames), self._turn_frames_max)):
                frame = frames.popleft()
                queue.bytes -= len(frame)
                events.append(Received(member, frame))
            left = left or bool(frames)
            if queue.room is not None:
                queue.room.set()
                queue.room = None
        if self._submissions:
            events.append(Submitted(tuple(self._submissions)))
            self._submissions = []
        if not left and self._wake.is_set():
            self._wake = trio.Event()
        return events
