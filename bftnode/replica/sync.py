"""Staying together: STATUS, repetition of what was lost, fetching of blocks and of the log, relaying.

Docs: docs/protocol.md, "Staying together". Nothing relies on one message arriving once: a member whose STATUS stands
still gets again what it lacks. Fetch from several peers, believe none: a run of blocks is verified backwards from one
commit certificate, a single block by its hash. Who is far behind asks several members at a time, each for other blocks:
while one run is executed, the next ones are read, sent and received. They may come in any order; what comes before what
is below it waits.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from bftnode.protocol import limits
from bftnode.protocol.blocks import Block, Packed, hash_header, open_block, open_header, pack_block
from bftnode.protocol.certificates import COMMIT, Certificate
from bftnode.protocol.codec import encode, unpack
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import (
    BlockAnswer,
    FetchBlock,
    FetchRun,
    Kind,
    PrePrepare,
    Relay,
    Run,
    Status,
    open_run_payload,
)
from bftnode.protocol.transactions import Transaction, open_transaction
from bftnode.replica.agreement import Agreement
from bftnode.replica.chain import Chain, Entry
from bftnode.replica.checkpoints import Checkpoints
from bftnode.replica.effects import ReadBlock, ReadRun
from bftnode.replica.events import BlockRead, RunRead
from bftnode.replica.nonces import Nonces
from bftnode.replica.pool import Pool
from bftnode.replica.position import Position, Timing
from bftnode.replica.view_change import CertificateMemo, ViewChanges
from bftnode.replica.voice import Voice

WANTED_MAX = 32
"""Single blocks asked for at a time, more than a window's worth. At the bound the oldest want gives way."""

RELAYED_MAX = 256
RELAYED_BYTES_MAX = 512 * 1024
"""One RELAY. The rest follows when these have been executed."""

RESENT_BYTES_TARGET = 2 * 1024 * 1024
"""Proposals sent again to a member that stands still end with the one that reaches this size; it asks again."""

FETCHES_MAX = 3
"""Runs that are asked for, each of another member, or have come and wait for those below them: at the bound nothing
more is asked for. Memory for them is bounded by so many runs."""

RUNS_SERVED_MAX = 8
"""Runs that a member is given in a status interval; the next one waits for its next STATUS. A run takes some ten
milliseconds of CPU here, so whoever asks without end gets a sixth of a core, and who catches up, from three members,
more than it can execute."""

SHUNNED_TIMEOUTS = 10
"""A member that did not give the run that it promised is not asked for so many fetch timeouts, unless nobody else
promises one: a liar costs one timeout in a while, not one a run (faults.md K05, K06)."""


@dataclass(slots=True)
class Peer:
    """What a member said of itself last, and where we were then."""

    status: Status
    heard_ms: int
    our_height: int
    waiting: bool = False  # its FETCH_RUN is being read from the log, or postponed
    postponed: FetchRun | None = None
    runs_served: int = 0  # since its last STATUS
    resent_ms: int = -(10**9)  # when it last got again what it lacked
    blocks_asked: int = 0  # single blocks that it asked for since its last STATUS


@dataclass(slots=True)
class _Fetch:
    """A run that was asked for: blocks from `first` on; those up to `last` are asked of nobody else."""

    first: int
    last: int
    deadline_ms: int
    owed: bool  # its source says that it has it


class _Came(NamedTuple):
    """A verified run; what is below it may not be here yet."""

    path: list[Entry]
    certificate: Certificate

    @property
    def first(self) -> int:
        return self.path[0].block.seq


@dataclass(slots=True)
class _Wanted:
    """A block that was asked for."""

    candidates: list[int]
    tries: int
    deadline_ms: int


class Synchroniser:
    """What a replica does so that no lost message and no absence matters."""

    def __init__(
        self,
        members: Membership,
        me: int,
        position: Position,
        timing: Timing,
        chain: Chain,
        pool: Pool,
        voice: Voice,
        nonces: Nonces,
        memo: CertificateMemo,
        agreement: Agreement,
        view_changes: ViewChanges,
        checkpoints: Checkpoints,
        open_envelope: Callable[[bytes], Transaction],
    ) -> None:
        self._members = members
        self._me = me
        self._position = position
        self._timing = timing
        self._chain = chain
        self._pool = pool
        self._voice = voice
        self._nonces = nonces
        self._memo = memo
        self._agreement = agreement
        self._view_changes = view_changes
        self._checkpoints = checkpoints
        self._open_envelope = open_envelope
        self.peers: dict[int, Peer] = {}
        self._status_due_ms = position.now.monotonic_ms
        self._fetches: dict[int, _Fetch] = {}  # by member
        self._asked: dict[int, int] = {}  # member -> where the run begins that it may still give, be it late
        self._came: list[_Came] = []
        self._run_blocks = 0  # how many fill a run, as far as the last one says; 0 before there was one
        self._last_source = -1
        self._shunned_until_ms: dict[int, int] = {}
        self._wanted: dict[bytes, _Wanted] = {}
        self._relayed: tuple[tuple[bytes, int], int, int] | None = None  # (oldest pending key, view, when) of the last

    # ---- time

    def deadline_ms(self) -> int:
        due_ms = self._status_due_ms
        for fetch in self._fetches.values():
            due_ms = min(due_ms, fetch.deadline_ms)
        for wanted in self._wanted.values():
            due_ms = min(due_ms, wanted.deadline_ms)
        if len(self._pool):
            relay = self._relay_due_ms()
            if relay is not None and relay < due_ms:
                return relay
        return due_ms

    def on_tick(self) -> None:
        now_ms = self._position.now.monotonic_ms
        if now_ms >= self._status_due_ms:
            self._status_due_ms = now_ms + self._timing.status_interval_ms
            self.send_status()
            self._view_changes.repeat()
            self._checkpoints.repeat()
            self._settle_wanted()
            self._take_in()
        late = {key: fetch for key, fetch in self._fetches.items() if now_ms >= fetch.deadline_ms}
        for member, fetch in late.items():
            del self._fetches[member]
            if fetch.owed:
                self._voice.note("fetch_timeout", {"member": member, "first": fetch.first})
                self._shun(member)
        if any(fetch.owed for fetch in late.values()):
            self._fetch_more(ahead=1)
        for block in [key for key, wanted in self._wanted.items() if now_ms >= wanted.deadline_ms]:
            self._ask_for(block)
        relay = self._relay_due_ms()
        if relay is not None and now_ms >= relay:
            self._relay()

    def send_status(self) -> None:
        """Tell everybody where I am."""
        self._voice.broadcast(Kind.STATUS, self._status())

    def _status(self) -> Status:
        return Status(
            self._members.epoch,
            self._position.view,
            self._position.active,
            self._chain.height,
            max(self._agreement.tip.block.seq, self._chain.height),
            0 if self._position.highest is None else self._position.highest.seq,
            self._nonces.seen(self._view_changes.asked()),
        )

    def on_linked(self, member: int) -> None:
        """A new link: tell this member at once what it would else learn within a status interval."""
        self._voice.send(member, Kind.STATUS, self._status())

    # ---- STATUS

    def on_status(self, sender: int, status: Status) -> None:
        """Resend what a member lacks; fetch what I lack."""
        now_ms = self._position.now.monotonic_ms
        before = self.peers.get(sender)
        height = self._chain.height
        peer = self.peers[sender] = Peer(status, now_ms, height)
        if before is not None:
            peer.waiting, peer.postponed, peer.resent_ms = before.waiting, before.postponed, before.resent_ms
            # Twice as often as STATUS is due is often enough: nobody gets more for asking more (A04).
            if now_ms - before.heard_ms < self._timing.status_interval_ms // 2:
                peer.heard_ms = before.heard_ms
                peer.blocks_asked, peer.runs_served = before.blocks_asked, before.runs_served
            elif peer.postponed is not None:
                self._serve_run(sender, peer, peer.postponed)
        self._nonces.on_status(sender, status)
        if status.committed > height:
            standing = before is not None and before.our_height == height and before.status.committed > height
            if standing or status.committed > height + self._members.parameters.window:
                self.want_log(status.committed)
        position = self._position
        if not position.active:
            return
        if (status.view, status.active) < (position.view, True):
            self._view_changes.send_new_view(sender)
        elif status.view == position.view and before is not None:
            if (before.status.committed, before.status.view) == (status.committed, status.view):
                if now_ms - peer.resent_ms >= self._timing.status_interval_ms // 2:
                    peer.resent_ms = now_ms
                    self._resend(sender, status)

    def _resend(self, to: int, status: Status) -> None:
        """A member stood still for a status interval: say again what it may have missed in this view."""
        if self._members.primary_of(self._position.view) == self._me and self._position.may_vote:
            size = 0
            for entry in self._agreement.proposals_above(status.tip):
                if size >= RESENT_BYTES_TARGET:
                    break
                size += len(entry.block.payload)
                body = PrePrepare(self._members.epoch, self._position.view, entry.block.header_raw)
                self._voice.send(to, Kind.PRE_PREPARE, body, entry.block.payload)
        for phase, seq, block in self._agreement.votes_to_repeat(status.committed):
            self._agreement.repeat_vote(phase, seq, block, to)

    # ---- the log

    def want_log(self, height: int) -> None:
        """Somebody is known to have committed `height`: fetch what can be had of it and is not on its way. Who has
        stopped for good asks for nothing: what came would be committed by nobody, and kept."""
        if height <= self._chain.height or self._position.halted:
            return
        for member in [key for key, fetch in self._fetches.items() if not fetch.owed]:
            del self._fetches[member]  # it may have had nothing then; what it sends all the same is taken
        if not self._fetches:
            trusted, shunned = self._sources(self._chain.height + 1)
            self._fetch_from(trusted or shunned)
        self._fetch_more(ahead=self._members.parameters.window + 1)

    def _sources(self, height: int) -> tuple[list[int], list[int]]:
        """The members that say they have this height and owe nothing: those to ask, and those that let me down a while
        ago."""
        now_ms = self._position.now.monotonic_ms
        sources = [
            member
            for member in sorted(self.peers)
            if self.peers[member].status.committed >= height
            and not (member in self._fetches and self._fetches[member].owed)
        ]
        shunned = [member for member in sources if now_ms < self._shunned_until_ms.get(member, 0)]
        return [member for member in sources if member not in shunned], shunned

    def _shun(self, source: int) -> None:
        """It did not deliver: others are asked. If there is none, the next STATUS starts again (so, at its pace)."""
        self._shunned_until_ms[source] = (
            self._position.now.monotonic_ms + SHUNNED_TIMEOUTS * self._timing.fetch_timeout_ms
        )

    def _fetch_more(self, ahead: int) -> None:
        """Ask for what is missing, from the lowest height on, if somebody is `ahead` blocks ahead; where others are
        asked already, whatever there is: it would be asked for next."""
        while len(self._fetches) + len(self._came) < (FETCHES_MAX if self._run_blocks else 1):
            if self._fetches or self._came:
                ahead = 1
            sources, _ = self._sources(self._gap()[0] - 1 + ahead)
            if not sources:
                return
            self._fetch_from(sources)

    def _fetch_from(self, sources: list[int], *, owed: bool = True) -> None:
        """Ask the next of these, round robin, for the lowest blocks that are missing and not on their way."""
        if not sources:
            return
        source = next((member for member in sources if member > self._last_source), sources[0])
        self._last_source = source
        first, last = self._gap()
        deadline_ms = self._position.now.monotonic_ms + self._timing.fetch_timeout_ms
        self._fetches[source] = _Fetch(first, last, deadline_ms, owed)
        self._asked[source] = first
        self._voice.send(source, Kind.FETCH_RUN, FetchRun(self._members.epoch, first, last))

    def _gap(self) -> tuple[int, int]:
        """The lowest heights that are missing and not asked for, at most a run of them."""
        first = self._chain.height + 1
        spans = [(fetch.first, fetch.last) for fetch in self._fetches.values()]
        spans += [(came.first, came.certificate.seq) for came in self._came]
        last = first + limits.RUN_BLOCKS_MAX * (FETCHES_MAX + 1)
        for begins, ends in sorted(spans):
            if first < begins:
                last = begins - 1
                break
            first = max(first, ends + 1)
        return first, min(last, first + (self._run_blocks or limits.RUN_BLOCKS_MAX) - 1)

    def on_fetch_run(self, sender: int, body: FetchRun) -> None:
        """Serve a run; one at a time and member, and so many in a while: nobody can queue up the log (A18), nor keep
        this member from its other work."""
        peer = self.peers.get(sender)
        if peer is None or peer.waiting or not 0 < body.first <= self._chain.height:
            return
        peer.waiting = True
        if peer.runs_served < RUNS_SERVED_MAX:
            self._serve_run(sender, peer, body)
        else:
            peer.postponed = body

    def _serve_run(self, to: int, peer: Peer, body: FetchRun) -> None:
        peer.postponed = None
        peer.runs_served += 1
        self._voice.add(ReadRun(to, body.first, body.last))

    def on_run_read(self, read: RunRead) -> None:
        peer = self.peers.get(read.to)
        if peer is not None:
            peer.waiting = False
        if read.certificate is not None:
            body = Run(self._members.epoch, read.first, read.certificate)
            self._voice.send(read.to, Kind.RUN, body, encode(read.blocks))

    def on_run(self, sender: int, body: Run, payload: bytes) -> None:
        """A run: q signatures, then hashes backwards. Raises Refused; then another member is asked."""
        asked, fetch, height = self._asked.pop(sender, None), self._fetches.pop(sender, None), self._chain.height
        if asked is None:
            raise Refused(Reason.UNREQUESTED, "a run that nobody asked for")
        try:
            came = self._open_run(body, open_run_payload(payload), asked)
        except Refused:
            if fetch is not None:
                self._shun(sender)
                self._fetch_more(ahead=1)
            raise
        if came is not None:
            self._came.append(came)
        elif fetch is not None and body.certificate.seq < fetch.first:
            self._shun(sender)  # what has come from elsewhere meanwhile is no fault of its
        self._take_in()
        if came is None and fetch is not None:
            self._fetch_more(ahead=1)
            return
        window = self._members.parameters.window
        self._fetch_more(ahead=window + 1)
        if not self._fetches and self._chain.height > height + window:
            # So much was decided since that STATUS, or while the run was on its way: there may be more by now.
            self._fetch_from([sender], owed=False)

    def _take_in(self) -> None:
        """Commit what has come, as far as it follows the log."""
        before = self._chain.height
        while self._came and not self._position.halted:
            came, height = min(self._came, key=lambda item: item.first), self._chain.height
            if came.first > height + 1:
                break
            self._came.remove(came)
            if came.certificate.seq > height:
                self._agreement.on_run(came.path[height + 1 - came.first :], came.certificate)
        if self._chain.height > before:
            self._view_changes.look_again()
            self._settle_wanted()

    def _open_run(self, body: Run, packed: tuple[Packed, ...], asked: int) -> _Came | None:
        """None: nothing in it is new, and its certificate was not looked at."""
        certificate, height = body.certificate, self._chain.height
        if certificate.phase != COMMIT or certificate.seq != body.first + len(packed) - 1:
            raise Refused(Reason.BAD_CERTIFICATE, "the certificate does not commit the last block of the run")
        full = len(self._fetches) + len(self._came) >= FETCHES_MAX
        if body.first > height + 1 and (full or body.first != asked):
            raise Refused(Reason.UNREQUESTED, f"a run from height {body.first} on; committed is {height}")
        if certificate.seq <= height:
            return None
        self._memo.check(certificate)
        expected = certificate.block
        for offset, item in enumerate(reversed(packed)):
            header = open_header(item.header)
            if hash_header(item.header) != expected or header.seq != certificate.seq - offset:
                raise Refused(Reason.BAD_BLOCK, "the run is not the chain below its certificate")
            expected = header.parent
        fresh = packed[max(0, height + 1 - body.first) :]
        path = [self._entry(open_block(item.header, item.payload)) for item in fresh]
        size = sum(len(item.payload) for item in packed)
        self._run_blocks = min(max(limits.RUN_BYTES_TARGET * len(packed) // max(size, 1), 1), limits.RUN_BLOCKS_MAX)
        return _Came(path, certificate)

    def _entry(self, block: Block) -> Entry:
        """A certified block is executed as ordered: its envelopes are opened, their signatures not judged again."""
        transactions = tuple(
            self._pool.known(raw) or open_transaction(raw, self._members.chain_id) for raw in block.transactions
        )
        return Entry(block, transactions)

    # ---- single blocks

    def want_block(self, block: bytes, candidates: Iterable[int]) -> None:
        """Ask for a block by hash, one member after the other, until it comes or is not needed any more."""
        wanted = self._wanted.get(block)
        if wanted is not None:
            wanted.candidates += [
                member for member in candidates if member not in wanted.candidates and member != self._me
            ]
            return
        if len(self._wanted) >= WANTED_MAX:
            del self._wanted[next(iter(self._wanted))]
        others = [member for member in dict.fromkeys(candidates) if member != self._me]
        self._wanted[block] = _Wanted(others or [m for m in range(self._members.n) if m != self._me], 0, 0)
        self._ask_for(block)

    def _ask_for(self, block: bytes) -> None:
        wanted = self._wanted[block]
        member = wanted.candidates[wanted.tries % len(wanted.candidates)]
        wanted.tries += 1
        wanted.deadline_ms = self._position.now.monotonic_ms + self._timing.status_interval_ms
        self._voice.send(member, Kind.FETCH_BLOCK, FetchBlock(self._members.epoch, block))

    def on_fetch_block(self, sender: int, body: FetchBlock) -> None:
        """Serve a block by hash; so many a status interval, for a correct member never wants more at a time."""
        peer = self.peers.get(sender)
        if peer is None or peer.blocks_asked >= WANTED_MAX:
            return
        peer.blocks_asked += 1
        entry = self._chain.get(body.block)
        if entry is not None and entry.block.seq > 0:
            self._send_block(sender, pack_block(entry.block))
        else:
            self._voice.add(ReadBlock(sender, body.block))

    def on_block_read(self, read: BlockRead) -> None:
        if read.block is not None:
            self._send_block(read.to, read.block)

    def _send_block(self, to: int, block: Packed) -> None:
        self._voice.send(to, Kind.BLOCK, BlockAnswer(self._members.epoch, block.header), block.payload)

    def on_block(self, body: BlockAnswer, payload: bytes) -> None:
        """A block. What was not asked for (or came already) is dropped."""
        block = hash_header(body.header)
        if block not in self._wanted:
            return
        entry = self._entry(open_block(body.header, payload))
        del self._wanted[block]
        self._agreement.on_block(entry)
        self._view_changes.look_again()
        self._settle_wanted()

    def _settle_wanted(self) -> None:
        if self._agreement.decided is None and self._agreement.settled and not self._view_changes.missing_base:
            self._wanted.clear()

    # ---- custody

    def _relay_due_ms(self) -> int | None:
        """Half a timeout after the oldest pending envelope became the oldest: perhaps only I know it (P16).

        Then once a timeout, for a RELAY may be lost. Whether others' blocks are committed meanwhile does not matter:
        a primary may serve them, censor my client, and keep me out of its proposals (N02, N05).
        """
        oldest = self._pool.oldest()
        if oldest is None or self._position.halted:
            return None
        timeout_ms = self._view_changes.timeout_ms
        if self._relayed is not None and self._relayed[:2] == (oldest.key, self._position.view):
            return self._relayed[2] + timeout_ms
        return max(self._pool.oldest_since_ms, self._view_changes.active_since_ms) + timeout_ms // 2

    def _relay(self) -> None:
        oldest = self._pool.oldest()
        assert oldest is not None, "a relay is due"
        self._relayed = (oldest.key, self._position.view, self._position.now.monotonic_ms)
        raws = self._pool.oldest_few(RELAYED_MAX, RELAYED_BYTES_MAX)
        self._voice.broadcast(Kind.RELAY, Relay(self._members.epoch), encode(raws))

    def on_relay(self, payload: bytes) -> None:
        """Take a peer's clients' envelopes into custody. Raises Refused for what is malformed or not signed."""
        for raw in self.relayed(payload):
            self._pool.add(self._open_envelope(raw), self._chain.height + 1, self._position.now.monotonic_ms)

    def relayed(self, payload: bytes) -> list[bytes]:
        """What can be taken into custody of a RELAY, if it is signed. The rest is not worth a signature check: the log
        is full of well-signed envelopes that anybody could relay again. Raises Refused for what is malformed."""
        items = unpack(payload, RELAYED_BYTES_MAX + 16 * RELAYED_MAX)
        if type(items) is not tuple or len(items) > RELAYED_MAX or not all(type(item) is bytes for item in items):
            raise Refused(Reason.CODEC_TYPE, "not an array of envelopes")
        next_seq = self._chain.height + 1
        return [
            raw
            for raw in items
            if self._pool.known(raw) is None
            and self._pool.refusal(open_transaction(raw, self._members.chain_id), next_seq) is None
        ]
