"""Views: when to leave one, how to agree on the next (docs/protocol.md, "View change").

Owns `position.view` and `position.active`. A view change carries one certificate a replica, the highest that it
holds; the base of the new view is the block of the highest-ranked certificate among q of them, computed by
everyone for himself. Only the highest VIEW-CHANGE of each member is kept: n slots, whatever an attacker sends.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bftnode.protocol.certificates import COMMIT, Certificate, check_certificate, rank_of
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import Verifier
from bftnode.protocol.envelope import Frame, encode_frame, open_frame, signing_bytes
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.evidence import contradiction
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import Kind, NewView, ViewChange, open_body
from bftnode.replica.position import Position, Timing, ViewRecord
from bftnode.replica.voice import Voice
from bftnode.replica.votes import VoteBook

COURTESY_VIEWS_MAX = 1
"""A lone correct replica is never further ahead of a view that works: it leaves its own view after q have asked for
that one, and where q are active in a lower one, two quorums have no correct member in common. Granting more would let
one liar send a few correct replicas views ahead, to which the others, too few without them, follow one by one."""

NEW_VIEWS_KEPT = 256
"""NEW-VIEWs of views that were active here, kept for forensics (decision 010) in as many journal records, by view
modulo this. At the bound the NEW-VIEW of at least so many views ago gives way, and a lie in it can no longer be proved
from here. Some 1 kB each with four members, 180 kB with 64."""

CERTIFICATES_REMEMBERED = 256
"""Verified certificates remembered by content, so that one in many VIEW-CHANGEs is checked once (P29)."""


VOTES_REMEMBERED = 4096
"""Verified votes of certificates, a megabyte or so. Everybody makes certificates of the q votes that he saw first, so
in a view change nearly as many different ones are reported as there are members, of the same n votes."""


class CertificateMemo:
    """`check_certificate` with a memory of what was valid. At its bounds the oldest is forgotten and verified again."""

    def __init__(self, members: Membership, verify: Verifier) -> None:
        self._members = members
        self._verify = verify
        self._valid: dict[bytes, None] = {}
        self._votes: dict[tuple[bytes, bytes, bytes], None] = {}  # (public key, message, signature)

    def check(self, certificate: Certificate) -> None:
        """Raises Refused(BAD_CERTIFICATE | WRONG_EPOCH)."""
        key = encode(certificate)
        if key in self._valid:
            return
        check_certificate(certificate, self._members, self._verify_vote)
        self._valid[key] = None
        if len(self._valid) > CERTIFICATES_REMEMBERED:
            del self._valid[next(iter(self._valid))]

    def _verify_vote(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        vote = public_key, message, signature
        if vote in self._votes:
            return True
        if not self._verify(public_key, message, signature):
            return False
        self._votes[vote] = None
        if len(self._votes) > VOTES_REMEMBERED:
            del self._votes[next(iter(self._votes))]
        return True


@dataclass(slots=True)
class _Slot:
    """The highest VIEW-CHANGE of one member."""

    frame: Frame
    body: ViewChange
    since_ms: int  # when this member first asked for a view above ours


@dataclass(slots=True)
class Doors:
    """What view changes ask of the rooms beside them; core.py introduces them."""

    start_view: Callable[[Certificate | None], None]
    leave_view: Callable[[], None]
    learn: Callable[[Certificate], None]  # a verified certificate came along
    oldest_work_ms: Callable[[], int | None]  # since when the oldest pending work waits; None: nothing waits
    lacks: Callable[[Certificate | None], bytes | None]  # the block that is missing to build on this certificate
    want_block: Callable[[bytes, Iterable[int]], None]  # fetch this block; these members should have it
    passes_by: Callable[[int], bool]  # whether this member was a slow primary a while ago
    aggrieved: Callable[[], int | None]  # who has found the primary slow for long, too few to replace it


class ViewChanges:
    """The view-changing half of a replica."""

    def __init__(
        self,
        members: Membership,
        me: int,
        position: Position,
        timing: Timing,
        voice: Voice,
        votes: VoteBook,
        memo: CertificateMemo,
        verify: Verifier,
    ) -> None:
        self._members = members
        self._me = me
        self._position = position
        self._timing = timing
        self._voice = voice
        self._votes = votes
        self._memo = memo
        self._verify = verify
        self.doors: Doors | None = None
        self.own: ViewChange | None = None  # fixed when it is first sent; None if this view was entered otherwise
        self.new_view: bytes | None = None  # the frame that opened the active view (None in view 0)
        self.fruitless = 0  # views entered since a block was committed in an active one
        self._slots: dict[int, _Slot] = {}
        self.missing_base = False  # as a primary: the block to build the view on is being fetched
        self._waiting_since_ms: int | None = None  # inactive: when the timer of the awaited view started
        self._active_since_ms = 0
        self._courtesy_ms: int | None = None  # when the last courtesy was granted
        self._answered_ms: dict[int, int] = {}  # member -> when it last got our NEW-VIEW

    # ---- timers

    @property
    def timeout_ms(self) -> int:
        """The timeout of this view: the base, doubled with each fruitless view after the first, up to its bound."""
        timing = self._timing
        base, most = timing.view_change_timeout_ms, timing.view_change_timeout_max_ms
        if self.fruitless > 1:
            base <<= min(self.fruitless - 1, 16)
        return base if base < most else most

    @property
    def active_since_ms(self) -> int:
        """When the last view in which this replica was active began for it."""
        return self._active_since_ms

    def deadline_ms(self) -> int | None:
        """When this view is given up unless something happens; None while there is nothing to wait for."""
        assert self.doors is not None, "introduced by core"
        if not self._position.may_vote:
            return None
        if self._position.active:
            since = self.doors.oldest_work_ms()
            return None if since is None else max(since, self._active_since_ms) + self.timeout_ms
        if self._waiting_since_ms is None:
            return None
        return self._waiting_since_ms + (self.timeout_ms // 2 if self.missing_base else self.timeout_ms)

    def on_tick(self) -> None:
        """Give the view up if its time is over; grant a courtesy if one is due."""
        deadline = self.deadline_ms()
        now_ms = self._position.now.monotonic_ms
        if deadline is not None and now_ms >= deadline and self.missing_base:
            self._open_view(self._builders()[0])
        elif deadline is not None and now_ms >= deadline:
            self._voice.note("view_timeout", {"view": self._position.view, "timeout_ms": self.timeout_ms})
            self.leave()
        elif self._position.active and self._position.may_vote:
            self._grant_courtesy(now_ms)

    def shift(self, asleep_ms: int) -> None:
        """Time in which this replica did nothing does not count."""
        self._active_since_ms += asleep_ms
        if self._waiting_since_ms is not None:
            self._waiting_since_ms += asleep_ms

    def speak_up(self) -> None:
        """This replica may vote from now on: say again what it asked for, and heed what was asked for meanwhile (a
        VIEW-CHANGE that is repeated is not looked at again)."""
        self.repeat()
        self._join()
        self._count()

    def rejoin(self, asked: int) -> None:
        """Vote again after a quarantine: the timer starts now; and where VIEW-CHANGE(asked) was said and forgotten,
        never again below that view. The others join by the courtesy."""
        self._active_since_ms = self._position.now.monotonic_ms
        if asked > self._position.view:
            self.start_view_change(asked + 1)

    def progressed(self, view: int) -> None:
        """A new block was committed by a certificate of `view`: this view is worth its time (P19)."""
        if view == self._position.view and self._position.active:
            self.fruitless = 0

    def _grant_courtesy(self, now_ms: int) -> None:
        """A lone replica cannot come back by itself; the others go where it is, at a strictly bounded rate."""
        if self._courtesy_ms is not None and now_ms - self._courtesy_ms < self._timing.courtesy_interval_ms:
            return
        view = self._position.view
        for sender in sorted(self._slots):
            slot = self._slots[sender]
            ahead = slot.body.view - view
            if 0 < ahead <= COURTESY_VIEWS_MAX and now_ms - slot.since_ms >= self._timing.courtesy_delay_ms:
                self._courtesy_ms = now_ms
                self._voice.note("courtesy_view_change", {"member": sender, "view": slot.body.view})
                self.start_view_change(slot.body.view)
                return
        # A primary may be slow to some of us, so that those who vote with it wait for them (watch.py).
        assert self.doors is not None, "introduced by core"
        member = self.doors.aggrieved()
        if member is not None:
            self._courtesy_ms = now_ms
            self._voice.note("courtesy_view_change", {"member": member, "view": view + 1})
            self.start_view_change(view + 1)

    # ---- VIEW-CHANGE

    def start_view_change(self, view: int) -> None:
        """Leave every view below `view` and say so with the highest certificate (docs: it is fixed from now on)."""
        position = self._position
        assert view > position.view, "views only grow"
        if not position.may_vote:
            return
        self._enter(view, active=False)
        self.fruitless += 1
        self.own = ViewChange(self._members.epoch, view, position.highest)
        self._voice.persist("view_change", self.own)
        frame = self._voice.broadcast(Kind.VIEW_CHANGE, self.own)
        self._slots[self._me] = _Slot(frame, self.own, position.now.monotonic_ms)
        self._voice.note("view_change_sent", {"view": view})
        self._count()

    def leave(self) -> None:
        """Ask for the next view; the next one whose primary was not slow a while ago, where the view that is left was
        worth its time. A view that brought nothing is followed by the next one, whoever its primary is: members that
        pass over different ones meet all the same."""
        assert self.doors is not None, "introduced by core"
        view = self._position.view + 1
        if self._position.active and not self.fruitless:
            while self.doors.passes_by(self._members.primary_of(view)):
                view += 1  # f members at most are passed over
        self.start_view_change(view)

    def repeat(self) -> None:
        """Say the VIEW-CHANGE of this view again: the same content, signed afresh."""
        if not self._position.active and self.own is not None and self._position.may_vote:
            frame = self._voice.broadcast(Kind.VIEW_CHANGE, self.own)
            self._slots[self._me].frame = frame

    def on_view_change(self, frame: Frame, body: ViewChange) -> None:
        """A VIEW-CHANGE with a valid signature. Judged whole, alone (P6). Raises Refused(BAD_VIEW_CHANGE)."""
        position = self._position
        if body.view <= position.view and position.active:
            self.send_new_view(frame.sender)
        held = self._slots.get(frame.sender)
        if held is not None and held.body.view == body.view and held.body.certificate != body.certificate:
            self._accuse_if_contradiction(held.frame, frame)
            return
        if body.view < position.view or (held is not None and held.body.view >= body.view):
            return
        self._check(body)
        for commit in self._votes.votes_of(COMMIT, frame.sender):
            self._accuse_if_contradiction(commit, frame)
        since = held.since_ms if held is not None and held.body.view > position.view else position.now.monotonic_ms
        self._slots[frame.sender] = _Slot(frame, body, since)
        if body.certificate is not None:
            assert self.doors is not None, "introduced by core"
            self.doors.learn(body.certificate)
        self._join()
        self._count()

    def _check(self, body: ViewChange) -> None:
        if body.view == 0:
            raise Refused(Reason.BAD_VIEW_CHANGE, "nobody changes to view 0")
        certificate = body.certificate
        if certificate is None:
            return
        if certificate.view >= body.view:
            raise Refused(Reason.BAD_VIEW_CHANGE, "its certificate is not of an earlier view")
        self._memo.check(certificate)

    def _accuse_if_contradiction(self, earlier: Frame, signed: Frame) -> None:
        proved = contradiction(earlier, signed)
        if proved is not None and self._signed(earlier):
            self._voice.accuse(signed.sender, proved, earlier, signed)

    def _join(self) -> None:
        """f+1 members ask for views above mine: join the largest that f+1 of them ask for or exceed, at once.

        At least one of them is correct, so f alone never move anybody (V07, V08).
        """
        position = self._position
        above = sorted(
            (slot.body.view for sender, slot in self._slots.items() if slot.body.view > position.view), reverse=True
        )
        if len(above) >= self._members.some_correct:
            self.start_view_change(above[self._members.some_correct - 1])

    def _count(self) -> None:
        """Start the timer of the awaited view when q ask for it or above (P17); as its primary, open it."""
        position = self._position
        if position.active or not position.may_vote:
            return
        at_least = [slot for slot in self._slots.values() if slot.body.view >= position.view]
        if len(at_least) >= self._members.quorum and self._waiting_since_ms is None:
            self._waiting_since_ms = position.now.monotonic_ms
        if self._members.primary_of(position.view) != self._me or self.own is None:
            return
        senders, missing = self._builders()
        # Who has gone on to a later view is not among them any more.
        self.missing_base = missing is not None and len(senders) >= self._members.quorum
        if len(senders) < self._members.quorum:
            return
        if missing is None:
            self._open_view(senders)
        else:
            assert self.doors is not None, "introduced by core"
            self.doors.want_block(*missing)

    def look_again(self) -> None:
        """A block has come: perhaps the one to build the view on."""
        if self.missing_base:
            self._count()

    def _builders(self) -> tuple[list[int], tuple[bytes, list[int]] | None]:
        """Whose VIEW-CHANGEs the primary opens its view with: first those whose blocks it holds. And the block that it
        lacks to build on them, with who should have it, where the highest certificate among them needs one.

        A liar may report a prepared block that nobody else remembers, or whose ancestor nobody does (decision 009).
        Nothing was committed with it, so a view need not be built on it where q others are there; where they are not,
        half a timeout is given to it.
        """
        assert self.doors is not None, "introduced by core"
        slots = {
            sender: self._slots[sender].body.certificate
            for sender in sorted(self._slots)
            if self._slots[sender].body.view == self._position.view and sender != self._me
        }
        lacking = {sender: self.doors.lacks(certificate) for sender, certificate in slots.items()}
        chosen = sorted(slots, key=lambda sender: lacking[sender] is not None)[: self._members.quorum - 1]
        builders = sorted([self._me, *chosen])
        base = max((self._slots[sender].body.certificate for sender in builders), key=rank_of)
        block = self.doors.lacks(base)
        if base is None or block is None:
            return builders, None
        # Who reports it first: those who voted for it may be the ones who forgot.
        reporters = [sender for sender, certificate in slots.items() if certificate == base]
        return builders, (block, [*reporters, *(vote.sender for vote in base.votes)])

    # ---- NEW-VIEW

    def _open_view(self, senders: list[int]) -> None:
        """As the primary of this view, with q VIEW-CHANGEs for it: say NEW-VIEW and begin."""
        frames = tuple(encode_frame(self._slots[sender].frame) for sender in senders)
        body = NewView(self._members.epoch, self._position.view, frames)
        frame = self._voice.broadcast(Kind.NEW_VIEW, body)
        self._install(frame, body, [self._slots[sender].body for sender in senders])

    def on_new_view(self, frame: Frame, body: NewView) -> None:
        """A NEW-VIEW, from its author or passed on by anyone; its signature is valid.

        It is a pure function of its q VIEW-CHANGEs, which every replica recomputes (P4). Raises
        Refused(BAD_NEW_VIEW | NOT_PRIMARY | BAD_CERTIFICATE).
        """
        position = self._position
        if self._members.primary_of(body.view) != frame.sender:
            raise Refused(Reason.NOT_PRIMARY, f"member {frame.sender} is not the primary of view {body.view}")
        if body.view == position.view and position.active and self.new_view is not None:
            self._look_for_second_new_view(frame, body)
        if body.view < position.view or (body.view == position.view and position.active):
            return
        self._install(frame, body, self.check_new_view(body))

    def check_new_view(self, body: NewView) -> list[ViewChange]:
        """The VIEW-CHANGEs of a valid NEW-VIEW. Raises Refused(BAD_NEW_VIEW | BAD_VIEW_CHANGE | BAD_CERTIFICATE)."""
        if body.view == 0 or len(body.view_changes) != self._members.quorum:
            raise Refused(Reason.BAD_NEW_VIEW, f"{len(body.view_changes)} VIEW-CHANGEs")
        view_changes: list[ViewChange] = []
        last = -1
        for raw in body.view_changes:
            frame = open_frame(raw)
            if not last < frame.sender < self._members.n or frame.kind != Kind.VIEW_CHANGE:
                raise Refused(Reason.BAD_NEW_VIEW, "not VIEW-CHANGEs of distinct members in order")
            last = frame.sender
            view_change = open_body(frame)
            assert isinstance(view_change, ViewChange), "decoded by its kind"
            if view_change.view != body.view or view_change.epoch != self._members.epoch:
                raise Refused(Reason.BAD_NEW_VIEW, "a VIEW-CHANGE for another view")
            if not self._signed(frame):
                raise Refused(Reason.BAD_NEW_VIEW, "a VIEW-CHANGE that its sender did not sign")
            self._check(view_change)
            view_changes.append(view_change)
        return view_changes

    def _signed(self, frame: Frame) -> bool:
        held = self._slots.get(frame.sender)
        if held is not None and held.frame == frame:
            return True
        message = signing_bytes(self._members.chain_id, frame.kind, frame.sender, frame.boot, frame.counter, frame.body)
        return self._verify(self._members.public_keys[frame.sender], message, frame.signature)

    def _look_for_second_new_view(self, frame: Frame, body: NewView) -> None:
        assert self.new_view is not None, "asked by the caller"
        known = open_frame(self.new_view)
        if known.body != frame.body and known.sender == frame.sender:
            self._voice.accuse(frame.sender, f"two NEW-VIEWs for view {body.view}", known, frame)

    def _install(self, frame: Frame, body: NewView, view_changes: list[ViewChange]) -> None:
        """The view is active; its base is the block of the highest-ranked certificate (V18)."""
        assert self.doors is not None, "introduced by core"
        base = base_of(view_changes)
        self.new_view = encode_frame(frame)
        self._voice.persist("new_view", self.new_view)
        self._voice.persist(f"new_view.{body.view % NEW_VIEWS_KEPT}", self.new_view)
        self._enter(body.view, active=True)
        self._voice.note(
            "new_view", {"view": body.view, "base": 0 if base is None else base.seq, "fruitless": self.fruitless}
        )
        self.doors.start_view(base)

    def send_new_view(self, to: int) -> None:
        """Help a member that is behind: our NEW-VIEW proves itself. At most one a status interval and member."""
        now_ms = self._position.now.monotonic_ms
        if self.new_view is None or not self._position.active:
            return
        if now_ms - self._answered_ms.get(to, -(10**9)) >= self._timing.status_interval_ms // 2:
            self._answered_ms[to] = now_ms
            self._voice.send_sealed(to, self.new_view)

    # ---- entering views

    def end_view(self, view: int) -> None:
        """A certificate of `view`, above mine, exists: my view is over (TRAP 3). I ask for its NEW-VIEW."""
        self._voice.note("view_ended_by_certificate", {"view": view})
        self._enter(view, active=False)
        self.own = None
        # Its members are active and answer STATUS with the NEW-VIEW; if none does for long, ask for the next view.
        self._waiting_since_ms = self._position.now.monotonic_ms + 3 * self.timeout_ms

    def _enter(self, view: int, *, active: bool) -> None:
        assert self.doors is not None, "introduced by core"
        position = self._position
        if view != position.view:
            # What waits for the NEW-VIEW of the view that it is of stays; also who enters without asking for it leaves.
            self.doors.leave_view()
        position.view = view
        position.active = active
        self._voice.persist("view", ViewRecord(view, active))
        self._waiting_since_ms = None
        self.missing_base = False
        if active:
            self._active_since_ms = position.now.monotonic_ms
        for sender in [key for key, slot in self._slots.items() if slot.body.view < view]:
            del self._slots[sender]

    def resume(
        self, own: ViewChange | None, new_view: bytes | None, resume_view: Callable[[Certificate | None], None]
    ) -> None:
        """After a restart: the same view, active or not, with the same VIEW-CHANGE as before."""
        position = self._position
        self._active_since_ms = position.now.monotonic_ms
        self.new_view = new_view
        if position.active:
            base = None
            if position.view > 0:
                assert new_view is not None, "an active view above 0 was opened by a NEW-VIEW"
                body = open_body(open_frame(new_view))
                assert isinstance(body, NewView), "persisted as such"
                base = base_of(self.check_new_view(body))
            resume_view(base)
            return
        if own is not None and own.view == position.view:
            self.own = own
            frame = self._voice.seal(Kind.VIEW_CHANGE, own)  # repeated as soon as this replica may vote
            self._slots[self._me] = _Slot(frame, own, position.now.monotonic_ms)
        else:
            self._waiting_since_ms = position.now.monotonic_ms + 3 * self.timeout_ms

    # ---- for those who ask

    def asked(self) -> dict[int, int]:
        """member -> the view that its VIEW-CHANGE asks for, where that is above ours or awaited."""
        return {sender: self._slots[sender].body.view for sender in sorted(self._slots)}


def base_of(view_changes: list[ViewChange]) -> Certificate | None:
    """The highest-ranked certificate of a NEW-VIEW: view first, then height, then phase (P5, V18)."""
    return max((item.certificate for item in view_changes), key=rank_of)
