"""Frames' nonces: replays are dropped, and a replica that has forgotten its own past finds out.

Docs: docs/protocol.md, "Messages on the wire" and "What must survive a crash". Peers report in STATUS the highest
nonce that they have seen of each member. Where f+1 of them, so at least one correct one, have seen a later one
of mine than I remember, my disk was rolled back or lost: I must not vote, for I may contradict myself. An operator
decides (`unsafe-rejoin`); then votes are withheld until the log has passed everything that I may have voted for.
"""

from typing import Annotated

from msgspec import Meta

from bftnode.protocol import quorums
from bftnode.protocol.certificates import Certificate
from bftnode.protocol.codec import Byte, UInt, Wire
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Seen, Status
from bftnode.protocol.nonces import ReplayWindow
from bftnode.replica.position import Position, Quarantine, Timing
from bftnode.replica.voice import BootRecord, Voice

REPORTING_INTERVALS = 4
"""How many status intervals the others have to report where they are, once an operator has decided."""

BARRIER_MAX = 2**62
"""No height comes near it; it keeps a liar's report within what a record can hold."""


class Nonce(Wire, frozen=True):
    """The highest nonce seen of a member."""

    boot: UInt
    counter: UInt


class SeenRecord(Wire, frozen=True):
    """Journal record "seen": the highest nonce seen of each member, as of its last new boot epoch."""

    seen: Annotated[tuple[Nonce, ...], Meta(max_length=quorums.MEMBERS_MAX)]


class QuarantineRecord(Wire, frozen=True):
    """Journal record "quarantine". The log must pass height `barrier`; `asked` is the view that I had asked for."""

    state: Byte
    barrier: UInt
    asked: UInt


class Nonces:
    """Replay windows of all peers, and this replica's own standing."""

    def __init__(self, members: Membership, me: int, position: Position, timing: Timing, voice: Voice) -> None:
        self._members = members
        self._me = me
        self._position = position
        self._timing = timing
        self._voice = voice
        self._windows = {member: ReplayWindow() for member in range(members.n) if member != me}
        self._before: BootRecord | None = None  # what the journal said of the boot before this one
        self._heard: set[int] = set()  # who has sent a STATUS in this boot
        self._later: dict[int, Seen] = {}  # peer -> a nonce of mine that it saw and I do not remember
        self._reports: dict[int, tuple[int, int]] = {}  # peer -> (height it knows of, view I asked for), in ALLOWED
        self._reported_since_ms = 0
        self._barrier = 0  # the height that the log must pass in PROBATION (kept afterwards)
        self._asked = 0  # a view that I asked for and forgot

    def restore(
        self, before: BootRecord | None, seen: SeenRecord | None, quarantine: QuarantineRecord | None, height: int
    ) -> None:
        self._before = before
        if seen is not None:
            for member, window in self._windows.items():
                nonce = seen.seen[member]
                self._windows[member] = ReplayWindow(nonce.boot, nonce.counter) if nonce.boot else window
        if quarantine is not None:
            self._position.quarantine = Quarantine(quarantine.state)
            self._barrier, self._asked = quarantine.barrier, quarantine.asked
            if quarantine.state == Quarantine.NONE and height <= quarantine.barrier:
                # What ended the probation was appended behind its end, and a crash took it.
                self._position.quarantine = Quarantine.PROBATION

    def accept(self, sender: int, boot: int, counter: int) -> bool:
        """Whether a frame of `sender` is new. A new boot epoch is remembered durably."""
        window = self._windows[sender]
        before = window.boot
        if not window.accept(boot, counter):
            return False
        if window.boot != before:
            self._voice.persist("seen", SeenRecord(self._highest()))
        return True

    def _highest(self) -> tuple[Nonce, ...]:
        """The highest nonce of each member, mine included, by index."""
        nonces = []
        for member in range(self._members.n):
            if member == self._me:
                nonces.append(Nonce(self._voice.boot, self._voice.counter))
            else:
                window = self._windows[member]
                nonces.append(Nonce(window.boot, window.counter))
        return tuple(nonces)

    def seen(self, asked: dict[int, int]) -> tuple[Seen, ...]:
        """What a STATUS says of each member, by index. `asked`: the views of the VIEW-CHANGEs that are held."""
        return tuple(
            Seen(nonce.boot, nonce.counter, asked.get(member, 0)) for member, nonce in enumerate(self._highest())
        )

    # ---- my own past

    def on_status(self, sender: int, status: Status) -> None:
        """What a peer has seen of me; in ALLOWED, how far my old votes may reach."""
        if self._me < len(status.seen):
            seen = status.seen[self._me]
            if self._is_forgotten(seen):
                self._later[sender] = seen
                if len(self._later) >= self._members.some_correct:
                    self._quarantine()
        if not self._position.introduced:
            # Whoever votes before it has heard may contradict what it has forgotten.
            self._heard.add(sender)
            self._position.introduced = len(self._heard) >= self._members.quorum - 1
        if self._position.quarantine == Quarantine.ALLOWED:
            now_ms = self._position.now.monotonic_ms
            if not self._reports:
                self._reported_since_ms = now_ms
            asked = status.seen[self._me].asked if self._me < len(status.seen) else 0
            self._reports[sender] = (max(status.committed, status.tip, status.certified), asked)
            if (
                len(self._reports) >= self._members.n - self._members.f
                and now_ms - self._reported_since_ms >= REPORTING_INTERVALS * self._timing.status_interval_ms
            ):
                self._begin_probation()

    def _is_forgotten(self, seen: Seen) -> bool:
        """Whether a peer has seen a frame of mine that I do not remember: of a later boot, or beyond the reserve of
        the one before this (a disk that was copied back without a start in between)."""
        if (seen.boot, seen.counter) > (self._voice.boot, self._voice.counter):
            return True
        before = self._before
        return before is not None and seen.boot == before.boot and seen.counter > before.reserved

    def on_own_vote(self, seq: int) -> None:
        """A verified certificate holds a vote of mine for height `seq` that I do not remember: that is proof."""
        if self._position.quarantine == Quarantine.NONE and seq > self._barrier:
            self._set(Quarantine.WAITING, 0, 0)
            self._voice.note("quarantined", {"boot": self._voice.boot, "height": seq})

    def _quarantine(self) -> None:
        # The (f+1)-th highest report is at most what a correct peer saw; a liar cannot burn the epochs.
        reported = sorted((nonce.boot for nonce in self._later.values()), reverse=True)
        known = reported[self._members.f]
        self._later.clear()
        if known >= self._voice.boot:
            self._voice.new_boot(known + 1)
        if self._position.quarantine != Quarantine.ALLOWED:
            self._set(Quarantine.WAITING, 0, 0)
        self._before = None
        self._voice.note("quarantined", {"boot": self._voice.boot})

    def _begin_probation(self) -> None:
        """Set the height that the log has to pass before I vote again.

        I voted for nothing more than two windows above a block C that I knew to be committed. I am one of the f
        faulty members myself, so f+1 of the others that voted to commit C are correct, and report C or more; at most
        f-1 of them are not among the n-f reports, so two are: the second highest report is at least C. For f > 2
        more than one liar can name a height that never comes: that keeps me out, not in, and an operator can ask
        again. What is committed above the barrier was voted for after this moment, by members that have left every
        view in which I may have voted.
        """
        rank = min(self._members.f, 2) - 1
        height = sorted((height for height, _ in self._reports.values()), reverse=True)[rank]
        asked = sorted((asked for _, asked in self._reports.values()), reverse=True)[rank]
        self._reports.clear()
        barrier = min(height, BARRIER_MAX) + 4 * self._members.parameters.window
        self._set(Quarantine.PROBATION, barrier, min(asked, BARRIER_MAX))
        self._voice.note("probation", {"until": barrier})

    def on_committed(self, certificate: Certificate) -> int | None:
        """Probation ends with a commit certificate past the barrier: it outranks all that I may have voted for.

        Then, and only then, a view: I asked for it and for no lower one, so I must not vote below it (0: none).
        """
        if self._position.quarantine != Quarantine.PROBATION or certificate.seq <= self._barrier:
            return None
        if not self._position.introduced:
            return None  # it could not ask for a view yet; another block will come
        self._set(Quarantine.NONE, self._barrier, 0)
        self._voice.note("rejoined", {"height": certificate.seq})
        return self._asked

    def _set(self, state: Quarantine, barrier: int, asked: int) -> None:
        self._position.quarantine = state
        self._barrier = barrier
        if state != Quarantine.NONE:
            self._asked = asked
        self._voice.persist("quarantine", QuarantineRecord(state, barrier, asked))
