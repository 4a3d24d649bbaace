"""A single replica and somebody who speaks for all the other members, and for its clients, disk and clock.

Signatures are real. What the replica makes durable goes to a disk that honours effects.py (simulations/disks.py), so
that it can be restarted; what it says is kept, opened, in `said`.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from bftnode.apps.execution import Executor, application_operation
from bftnode.apps.log import Records, append
from bftnode.protocol.blocks import Block, Header, genesis_block, make_block, pack_block
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, Vote, VoteSignature, vote_body
from bftnode.protocol.codec import Wire, encode
from bftnode.protocol.cosigning import CheckpointKeys, CheckpointSigner
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.envelope import Frame, encode_frame, open_frame, peek_kind, seal, signing_bytes
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.merkle import Frontier, leaf_hash, root_of
from bftnode.protocol.messages import (
    VOTES,
    BlockAnswer,
    Body,
    Kind,
    NewView,
    PrePrepare,
    Run,
    Seen,
    Status,
    ViewChange,
    open_body,
)
from bftnode.protocol.tlog.policy import MemberKeys
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction
from bftnode.replica.core import Replica
from bftnode.replica.effects import (
    Accuse,
    Answer,
    AppendBlock,
    Broadcast,
    DropBlocks,
    Effect,
    KeepCheckpoint,
    Note,
    Persist,
    ReadBlock,
    ReadRun,
    Send,
    StoreBlock,
)
from bftnode.replica.events import BlockRead, Event, Now, Received, RunRead, Submitted, Tick
from bftnode.replica.position import Timing
from simulations.crypto import Keyring
from simulations.disks import Disk
from simulations.node import Envelopes
from simulations.words import note_in_words

CHAIN = b"the chain of a conversation, 32b"
UNTOLD = {
    "checkpoint_cosigned": {"height", "log_size"},
    "cosigned_another_log": {"height", "log_size"},
    "cosigned_otherwise": {"member", "height"},
}
"""Notes that have no words in a run's story, and their fields; all others have (simulations/words.py)."""
CLIENTS = 3
STRANGER = 2
"""A client that is not admitted."""

WALL_MS = 1_000_000
FAR_AHEAD = 1_000_000

TIMING = Timing(
    view_change_timeout_ms=1000,
    view_change_timeout_max_ms=8000,
    status_interval_ms=500,
    fetch_timeout_ms=2000,
    courtesy_delay_ms=5000,
    courtesy_interval_ms=20_000,
)


def cosigners_of(members: Membership, n: int) -> list[CheckpointSigner]:
    """Everybody's log keys, Ed25519."""
    signers = [signer(hashlib.sha256(b"log key %d" % member).digest()) for member in range(n)]
    publics = [public_key_of(hashlib.sha256(b"log key %d" % member).digest()) for member in range(n)]
    keys = CheckpointKeys(
        members.chain_id,
        [MemberKeys(f"m{i}", members.public_keys[i], publics[i], publics[i]) for i in range(n)],
    )
    return [CheckpointSigner(keys, i, signers[i], (signers[i],)) for i in range(n)]


class Said(NamedTuple):
    """One thing that the replica said; `to` is None for everybody."""

    to: int | None
    frame: Frame
    body: Body


class Conversation:
    """A replica, `me` of `n`, that has just started and has heard STATUS of everybody."""

    def __init__(
        self,
        n: int = 4,
        me: int = 1,
        *,
        parameters: Parameters | None = None,
        introduced: bool = True,
        cosigns: bool = False,
    ) -> None:
        self.keyring = Keyring(n, CLIENTS, real=True)
        self.members = Membership(CHAIN, 0, self.keyring.members, parameters or Parameters(checkpoint_interval=2))
        self.n, self.me, self.quorum = n, me, self.members.quorum
        self.cosigners = cosigners_of(self.members, n) if cosigns else []
        self.executor = Executor(Records(), self.keyring.clients[:STRANGER], 100)
        self.disk = Disk(self.members, self.executor)
        self.now_ms = 0
        self.wall_ms = WALL_MS
        self.said: list[Said] = []
        self.notes: list[Note] = []
        self.answers: list[Answer] = []
        self.accused: list[Accuse] = []
        self.step_behind = False  # what promises nothing is not written until something does
        self._effects: list[Effect] = []
        self._counters = [0] * n
        self.boots = [1] * n
        self._nonces = [0] * CLIENTS
        self.replica = self._wake()
        self.tick()
        if introduced:
            self.introduce()

    # ---- life

    def _wake(self) -> Replica:
        envelopes = Envelopes(self.members, self.executor, self.keyring.verify)
        return Replica(
            self.members,
            self.me,
            self.keyring.member_signer(self.me),
            self.keyring.verify,
            envelopes.open,
            self.disk.recover(),
            Now(self.now_ms, self.wall_ms),
            TIMING,
            self.cosigners[self.me] if self.cosigners else None,
        )

    def restart(self, *, introduced: bool = True) -> None:
        """As after kill -9: only the disk is left."""
        self.disk.lose()
        self.replica = self._wake()
        self.tick()
        if introduced:
            self.introduce()

    def introduce(self) -> None:
        """Everybody says where it is: at the beginning."""
        for member in self.others():
            self.status(member)

    def others(self) -> list[int]:
        return [member for member in range(self.n) if member != self.me]

    def step(self, event: Event) -> list[Said]:
        """One step, made durable, and all that follows from it here; what was said in it."""
        said: list[Said] = []
        waiting = [event]
        while waiting:
            effects = self._step(waiting.pop(0))
            self._effects += effects
            self.disk.leave(item for item in effects if isinstance(item, Persist | StoreBlock))
            if any(isinstance(item, Persist) and not item.behind for item in effects):
                self.disk.sync()
            # What is appended and dropped is left behind, also by a promise (effects.py).
            decided = [item for item in effects if isinstance(item, AppendBlock | DropBlocks | KeepCheckpoint)]
            waiting += [committed.executed for committed in self.disk.leave(decided)]
            if not self.step_behind or any(isinstance(item, ReadRun | ReadBlock) for item in effects):
                self.disk.sync()
            waiting += [answer for effect in effects for answer in self._carry_out(effect, said)]
        self.said += said
        return said

    def _step(self, event: Event) -> list[Effect]:
        """A vote that it says it can do without for now really changes nothing, and brings it one vote nearer at most:
        whoever waits for as many as it wants misses nothing but somebody's lie for a while."""
        wanted = self.replica.votes_wanted()
        effects = self.replica.step(event, Now(self.now_ms, self.wall_ms))
        if isinstance(event, Received) and peek_kind(event.frame) in VOTES and wanted > 1:
            lie = any(isinstance(item, Accuse) for item in effects)
            seen = [item for item in effects if isinstance(item, Persist) and item.name == "seen"]
            assert lie or all(isinstance(item, Note) or item in seen for item in effects)
            assert self.replica.votes_wanted() >= wanted - 1
        return effects

    def effects_of(self, act: Callable[..., object], *arguments: object) -> list[Effect]:
        """All effects of what happens in `act`."""
        self._effects = []
        act(*arguments)
        return self._effects

    def wanted(self, frame: Frame) -> list[Effect]:
        """What a frame makes the replica want done, and nothing of it is."""
        return self.replica.step(Received(frame.sender, encode_frame(frame)), Now(self.now_ms, self.wall_ms))

    def _carry_out(self, effect: Effect, said: list[Said]) -> list[Event]:
        match effect:
            case Send():
                said.append(_opened(effect.to, effect.frame))
            case Broadcast():
                said.append(_opened(None, effect.frame))
            case Note():
                sentence = note_in_words(effect)  # raises where a field that it tells is not there
                assert effect.fields.keys() == UNTOLD.get(effect.name) or not sentence.startswith(f"{effect.name} ")
                self.notes.append(effect)
            case Answer():
                self.answers.append(effect)
            case Accuse():
                self.accused.append(effect)
            case ReadRun():
                run = self.disk.read_run(effect.first, effect.last)
                return [RunRead(effect.to, effect.first, *(run if run is not None else ((), None)))]
            case ReadBlock():
                return [BlockRead(effect.to, self.disk.read_block(effect.block))]
            case _:
                pass
        return []

    def tick(self, after_ms: int = 0) -> list[Said]:
        """Time passes, and the replica is told at each moment that it asked for."""
        said, until = [], self.now_ms + after_ms
        while (due := self.replica.next_deadline_ms()) <= until:
            if due > self.now_ms:
                self.wall_ms += due - self.now_ms
                self.now_ms = due
            said += self.step(Tick())
        self.wall_ms += until - self.now_ms
        self.now_ms = until
        return [*said, *self.step(Tick())]

    # ---- others speak

    def seal(self, sender: int, kind: Kind, body: Wire, payload: bytes = b"") -> Frame:
        self._counters[sender] += 1
        sign = self.keyring.member_signer(sender)
        return seal(CHAIN, kind, sender, self.boots[sender], self._counters[sender], encode(body), sign, payload)

    def hear(self, sender: int, kind: Kind, body: Wire, payload: bytes = b"") -> list[Said]:
        return self.deliver(self.seal(sender, kind, body, payload))

    def deliver(self, frame: Frame, link: int | None = None) -> list[Said]:
        return self.step(Received(frame.sender if link is None else link, encode_frame(frame)))

    def status(
        self,
        sender: int,
        *,
        view: int = 0,
        active: bool = True,
        committed: int = 0,
        tip: int = 0,
        seen: Seen | None = None,
    ) -> list[Said]:
        """`seen`: what it has seen of the replica."""
        of = tuple((seen if member == self.me and seen else Seen(0, 0, 0)) for member in range(self.n))
        return self.hear(sender, Kind.STATUS, Status(0, view, active, committed, tip, committed, of))

    def propose(self, block: Block, view: int = 0, sender: int | None = None) -> list[Said]:
        sender = view % self.n if sender is None else sender
        return self.hear(sender, Kind.PRE_PREPARE, PrePrepare(0, view, block.header_raw), block.payload)

    def vote(self, phase: int, sender: int, block: Block, view: int = 0) -> list[Said]:
        return self.hear(sender, Kind(phase), Vote(0, view, block.seq, block.hash))

    def votes(self, phase: int, senders: Iterable[int], block: Block, view: int = 0) -> list[Said]:
        return [said for sender in senders for said in self.vote(phase, sender, block, view)]

    def commit(self, block: Block, view: int = 0) -> None:
        """Propose (where the replica is not the primary itself) and vote with everybody."""
        if view % self.n != self.me:
            self.propose(block, view)
        self.votes(PREPARE, self.others(), block, view)
        self.votes(COMMIT, self.others(), block, view)

    def ask_for_view(self, sender: int, view: int, certificate: Certificate | None = None) -> list[Said]:
        return self.hear(sender, Kind.VIEW_CHANGE, ViewChange(0, view, certificate))

    def new_view(self, view: int, reports: dict[int, Certificate | None], sender: int | None = None) -> Frame:
        """A NEW-VIEW with these members' VIEW-CHANGEs."""
        frames = tuple(
            encode_frame(self.seal(member, Kind.VIEW_CHANGE, ViewChange(0, view, certificate)))
            for member, certificate in sorted(reports.items())
        )
        return self.seal(view % self.n if sender is None else sender, Kind.NEW_VIEW, NewView(0, view, frames))

    def open_view(self, view: int, certificate: Certificate | None = None) -> list[Said]:
        """A quorum of others reports this certificate, and the primary says NEW-VIEW."""
        senders = [member for member in range(self.n) if member != self.me][: self.quorum]
        return self.deliver(self.new_view(view, dict.fromkeys(senders, certificate)))

    def run(
        self, sender: int, blocks: Sequence[Block], certificate: Certificate, first: int | None = None
    ) -> list[Said]:
        body = Run(0, blocks[0].seq if first is None else first, certificate)
        return self.hear(sender, Kind.RUN, body, encode(tuple(pack_block(block) for block in blocks)))

    def answer_block(self, sender: int, block: Block) -> list[Said]:
        return self.hear(sender, Kind.BLOCK, BlockAnswer(0, block.header_raw), block.payload)

    # ---- things to say

    def transaction(
        self, client: int = 0, nonce: int | None = None, valid_until: int = FAR_AHEAD, data: bytes = b"x"
    ) -> Transaction:
        if nonce is None:
            self._nonces[client] += 1
            nonce = self._nonces[client]
        body = TransactionBody(
            CHAIN, self.keyring.clients[client], nonce, valid_until, (application_operation(append(data)),)
        )
        return sign_transaction(body, self.keyring.client_signer(client))

    def submit(self, *transactions: Transaction) -> list[Said]:
        return self.step(Submitted(transactions))

    def block(
        self,
        parents: Sequence[Block] = (),
        transactions: Sequence[Transaction] | None = None,
        *,
        view: int = 0,
        proposer: int | None = None,
        **changes: object,
    ) -> Block:
        """The block after `parents` (from height 1 on); `changes` are fields of its header that shall be wrong."""
        frontier, parent = Frontier(), genesis_block(CHAIN)
        for earlier in parents:
            frontier, _ = frontier.append(earlier.leaves)
            parent = earlier
        chosen = [self.transaction()] if transactions is None else transactions
        raws = tuple(item.raw for item in chosen)
        leaves = [leaf_hash(raw) for raw in raws]
        grown, _ = frontier.append(leaves)
        fields: dict[str, object] = {
            "chain_id": CHAIN,
            "epoch": 0,
            "seq": parent.seq + 1,
            "parent": parent.hash,
            "time_ms": self.wall_ms,
            "transactions_root": root_of(leaves),
            "log_size": grown.size,
            "log_root": grown.root(),
            "proposer": view % self.n if proposer is None else proposer,
            "view": view,
        }
        return make_block(Header(**{**fields, **changes}), raws, leaves)

    def chain(self, length: int) -> list[Block]:
        blocks: list[Block] = []
        for _ in range(length):
            blocks.append(self.block(blocks))
        return blocks

    def certificate(self, phase: int, block: Block, view: int = 0, senders: Sequence[int] = ()) -> Certificate:
        chosen = sorted(senders or [member for member in range(self.n) if member != self.me][: self.quorum])
        if len(chosen) < self.quorum:
            chosen = list(range(self.quorum))
        body = vote_body(0, view, block.seq, block.hash)
        votes = []
        for sender in chosen:
            self._counters[sender] += 1
            counter = self._counters[sender]
            message = signing_bytes(CHAIN, phase, sender, self.boots[sender], counter, body)
            signature = self.keyring.member_signer(sender)(message)
            votes.append(VoteSignature(sender, self.boots[sender], counter, signature))
        return Certificate(phase, 0, view, block.seq, block.hash, tuple(votes))

    # ---- questions

    def refusals(self) -> list[str]:
        """The reasons of all that was refused so far."""
        return [str(note.fields["reason"]) for note in self.notes if note.name == "refused"]

    @property
    def view(self) -> tuple[int, bool]:
        return self.replica.position.view, self.replica.position.active

    @property
    def height(self) -> int:
        return self.disk.height


def of_kind(said: Iterable[Said], kind: Kind) -> list[Said]:
    return [item for item in said if item.frame.kind == kind]


def voted(said: Iterable[Said], phase: int) -> list[tuple[int, int, bytes]]:
    """(view, height, block) of the votes of this phase."""
    return [
        (item.body.view, item.body.seq, item.body.block)
        for item in said
        if isinstance(item.body, Vote) and item.frame.kind == phase
    ]


def _opened(to: int | None, raw: bytes) -> Said:
    frame = open_frame(raw)
    return Said(to, frame, open_body(frame))
