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
from bftnode.protocol.messages import Nonce, Status
from bftnode.protocol.nonces import ReplayWindow
from bftnode.replica.position import Position, Quarantine
from bftnode.replica.voice import Voice


class SeenRecord(Wire, frozen=True):
    """Journal record "seen": the highest nonce seen of each member, as of its last new boot epoch."""

    seen: Annotated[tuple[Nonce, ...], Meta(max_length=quorums.MEMBERS_MAX)]


class QuarantineRecord(Wire, frozen=True):
    """Journal record "quarantine". The barrier counts in PROBATION only."""

    state: Byte
    view: UInt
    seq: UInt


class Nonces:
    """Replay windows of all peers, and this replica's own standing."""

    def __init__(self, members: Membership, me: int, position: Position, voice: Voice) -> None:
        self._members = members
        self._me = me
        self._position = position
        self._voice = voice
        self._windows = {member: ReplayWindow() for member in range(members.n) if member != me}
        self._later: dict[int, Nonce] = {}  # peer -> a nonce of mine that it saw and I do not remember
        self._reports: dict[int, tuple[int, int]] = {}  # peer -> (view, tip), gathered in ALLOWED
        self._barrier = (0, 0)  # (view, height) that the log must pass in PROBATION

    def restore(self, seen: SeenRecord | None, quarantine: QuarantineRecord | None) -> None:
        if seen is not None:
            for member, window in self._windows.items():
                nonce = seen.seen[member]
                self._windows[member] = ReplayWindow(nonce.boot, nonce.counter) if nonce.boot else window
        if quarantine is not None:
            self._position.quarantine = Quarantine(quarantine.state)
            self._barrier = (quarantine.view, quarantine.seq)

    def accept(self, sender: int, boot: int, counter: int) -> bool:
        """Whether a frame of `sender` is new. A new boot epoch is remembered durably."""
        window = self._windows[sender]
        before = window.boot
        if not window.accept(boot, counter):
            return False
        if window.boot != before:
            self._voice.persist("seen", SeenRecord(self.seen()))
        return True

    def seen(self) -> tuple[Nonce, ...]:
        """The highest nonce seen of each member, mine included, by index."""
        nonces = []
        for member in range(self._members.n):
            if member == self._me:
                nonces.append(Nonce(self._voice.boot, self._voice.counter))
            else:
                window = self._windows[member]
                nonces.append(Nonce(window.boot, window.counter))
        return tuple(nonces)

    # ---- my own past

    def on_status(self, sender: int, status: Status) -> None:
        """What a peer has seen of me; in ALLOWED, how far my old votes may reach."""
        if self._me < len(status.seen):
            seen = status.seen[self._me]
            if (seen.boot, seen.counter) > (self._voice.boot, self._voice.counter):
                self._later[sender] = seen
                if len(self._later) >= self._members.some_correct:
                    self._quarantine()
        if self._position.quarantine == Quarantine.ALLOWED:
            self._reports[sender] = (status.view, status.tip)
            if len(self._reports) >= self._members.quorum - 1:
                self._begin_probation()

    def _quarantine(self) -> None:
        # The (f+1)-th highest report is at most what a correct peer saw; a liar cannot burn the epochs.
        reported = sorted((nonce.boot for nonce in self._later.values()), reverse=True)
        known = reported[self._members.f]
        self._later.clear()
        if known >= self._voice.boot:
            self._voice.new_boot(known + 1)
        if self._position.quarantine != Quarantine.ALLOWED:
            self._set(Quarantine.WAITING, 0, 0)
        self._voice.note("quarantined", {"boot": self._voice.boot})

    def _begin_probation(self) -> None:
        """Whatever I voted for was proposed in a view and at a height that q - 1 others have at least seen."""
        view = max(view for view, _ in self._reports.values())
        seq = max(tip for _, tip in self._reports.values()) + 2 * self._members.parameters.window
        self._reports.clear()
        self._set(Quarantine.PROBATION, view, seq)
        self._voice.note("probation", {"view": view, "until": seq})

    def on_committed(self, certificate: Certificate) -> None:
        """Probation ends with a commit certificate past the barrier: it outranks all that I may have voted for."""
        if self._position.quarantine != Quarantine.PROBATION:
            return
        if certificate.view >= self._barrier[0] and certificate.seq > self._barrier[1]:
            self._set(Quarantine.NONE, 0, 0)
            self._voice.note("rejoined", {"height": certificate.seq})

    def _set(self, state: Quarantine, view: int, seq: int) -> None:
        self._position.quarantine = state
        self._barrier = (view, seq)
        self._voice.persist("quarantine", QuarantineRecord(state, view, seq))
