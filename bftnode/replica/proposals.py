"""What the primary of this view proposes: what waits for its parent, and what is required before it is accepted.

docs/protocol.md, "Normal case, in view v". A proposal is judged once, at first sight, on top of the block that was
accepted below it; what is certified is never validated again (P28). Bounded: one proposal a height waits, up to two
windows above the log, and none of another view.
"""

from collections.abc import Callable, Container

from bftnode.protocol import limits
from bftnode.protocol.blocks import Block, Header, open_block, open_header
from bftnode.protocol.codec import unpack
from bftnode.protocol.envelope import Frame
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.evidence import without_payload
from bftnode.protocol.membership import Membership
from bftnode.protocol.messages import PrePrepare
from bftnode.protocol.transactions import Transaction
from bftnode.replica.chain import Chain, Entry
from bftnode.replica.pool import Pool
from bftnode.replica.position import Position
from bftnode.replica.voice import Voice


class Proposal:
    """A PRE-PREPARE that waits for its parent."""

    __slots__ = ("block", "frame", "waits_for")

    def __init__(self, frame: Frame, block: Block) -> None:
        self.frame = frame
        self.block = block
        self.waits_for = 0  # the height that must be executed before it can be judged


class Proposals:
    """Those of the view in which the replica is."""

    def __init__(self, members: Membership, position: Position, chain: Chain, pool: Pool, voice: Voice) -> None:
        self._members = members
        self._position = position
        self._chain = chain
        self._pool = pool
        self._voice = voice
        self._waiting: dict[int, Proposal] = {}
        self._accepted: dict[int, Frame] = {}  # PRE-PREPAREs without payload

    @property
    def waiting(self) -> int:
        """How many wait for their parents."""
        return len(self._waiting)

    def hear(self, frame: Frame, body: PrePrepare, accepted: Container[int]) -> None:
        """A PRE-PREPARE whose signature is valid: it waits, unless its height is among those `accepted`. A second one
        for its height convicts the primary.

        Raises Refused with what is wrong with it.
        """
        header = open_header(body.header)
        if self._members.primary_of(body.view) != frame.sender:
            raise Refused(Reason.NOT_PRIMARY, f"member {frame.sender} is not the primary of view {body.view}")
        if header.chain_id != self._members.chain_id or header.epoch != self._members.epoch:
            raise Refused(Reason.BAD_BLOCK, "a header of another chain or epoch")
        if header.proposer != frame.sender or header.view != body.view:
            raise Refused(Reason.BAD_BLOCK, "the header names another proposer or view")
        if body.view != self._position.view or header.seq <= self._chain.height:
            # Late (N14), or of a view that has not begun here: its primary sends it again once it has. Keeping the
            # proposals of later views would let any member crowd out those of the present primary.
            return
        if header.seq > self._chain.height + 2 * self._members.parameters.window:
            raise Refused(Reason.OUT_OF_WINDOW, f"height {header.seq}; committed is {self._chain.height}")
        self._look_for_second_proposal(frame, body, header)
        if header.seq in accepted or header.seq in self._waiting:
            return
        if len(frame.payload) > self._members.parameters.block_bytes_max + 16:
            raise Refused(Reason.BAD_BLOCK_SIZE, f"{len(frame.payload)} bytes of transactions")
        self._waiting[header.seq] = Proposal(frame, open_block(body.header, frame.payload))

    def proposed(self, link: int, body: PrePrepare, payload: bytes, accepted: Container[int]) -> tuple[bytes, ...]:
        """The envelopes of a proposal that `hear` would keep and `next_on` open, its signature apart; else nothing.
        Raises Refused(CODEC_*)."""
        header, parameters = open_header(body.header), self._members.parameters
        ahead = header.seq - self._chain.height
        if (
            body.view != self._position.view
            or self._members.primary_of(body.view) != link
            or not 0 < ahead <= 2 * parameters.window
            or header.seq in accepted
            or header.seq in self._waiting
            or len(payload) > parameters.block_bytes_max + 16
        ):
            return ()
        items = unpack(payload, limits.FRAME_BYTES_MAX)
        if type(items) is not tuple or len(items) > parameters.block_transactions_max:
            return ()
        return tuple(item for item in items if type(item) is bytes)

    def _look_for_second_proposal(self, frame: Frame, body: PrePrepare, header: Header) -> None:
        waiting = self._waiting.get(header.seq)
        known = waiting.frame if waiting is not None else self._accepted.get(header.seq)
        if known is not None and known.body != frame.body:
            proved = f"two PRE-PREPAREs for different blocks at view {body.view}, height {header.seq}"
            self._voice.accuse(frame.sender, proved, without_payload(known), without_payload(frame))

    def next_on(
        self, parent: Entry, executed_seq: int, open_envelope: Callable[[bytes], Transaction]
    ) -> tuple[Entry, Frame] | None:
        """What waits on top of `parent`, now accepted, and its PRE-PREPARE; None where nothing does, or has to wait for
        execution.

        Raises Refused with what is wrong with it; then it waits no more.
        """
        if not self._waiting:
            return None
        seq = parent.block.seq + 1
        proposal = self._waiting.get(seq)
        if proposal is None or proposal.waits_for > executed_seq:
            return None
        try:
            entry = self._judged(proposal.block, parent, executed_seq, open_envelope)
        except Refused:
            del self._waiting[seq]
            raise
        if entry is None:
            proposal.waits_for = seq - 1
            return None
        del self._waiting[seq]
        return entry, proposal.frame

    def accepted(self, seq: int, frame: Frame) -> None:
        """This PRE-PREPARE, maybe the replica's own, was accepted."""
        self._accepted[seq] = without_payload(frame)

    def forget_up_to(self, height: int) -> None:
        """What is decided is no proposal any more."""
        for table in (self._waiting, self._accepted):
            for seq in [key for key in table if key <= height]:
                del table[seq]

    def keep_only(self, heights: Container[int]) -> None:
        """The tip has moved: of what was accepted, only these heights still are."""
        self._accepted = {seq: frame for seq, frame in self._accepted.items() if seq in heights}

    def clear(self) -> None:
        """The view is over."""
        self._waiting.clear()
        self._accepted.clear()

    def _judged(
        self, block: Block, parent: Entry, executed_seq: int, open_envelope: Callable[[bytes], Transaction]
    ) -> Entry | None:
        header = block.header
        if header.parent != parent.block.hash:
            raise Refused(Reason.BAD_BLOCK, f"height {header.seq} does not follow the block accepted below it")
        if header.time_ms < parent.block.header.time_ms:
            raise Refused(Reason.BAD_TIME, "the time of the block is before its parent's")
        if header.time_ms > self._position.now.wall_ms + self._members.parameters.clock_skew_ms:
            raise Refused(Reason.BAD_TIME, "the time of the block is too far ahead")
        if not 0 < len(block.transactions) <= self._members.parameters.block_transactions_max:
            raise Refused(Reason.BAD_BLOCK_SIZE, f"{len(block.transactions)} transactions")
        assert parent.frontier is not None, "the tip is connected"
        frontier = parent.frontier.grown(block.leaves)
        if (header.log_size, header.log_root) != (frontier.size, frontier.root()):
            raise Refused(Reason.BAD_BLOCK, "the header does not name the log that follows from its blocks")
        transactions = self._open_transactions(block, executed_seq, open_envelope)
        if transactions is None:
            return None
        entry = Entry(block, transactions)
        entry.frontier = frontier
        return entry

    def _open_transactions(
        self, block: Block, executed_seq: int, open_envelope: Callable[[bytes], Transaction]
    ) -> tuple[Transaction, ...] | None:
        """The envelopes of a proposal, each valid; None while that depends on blocks that are not executed yet.

        Its primary may have executed more: a client may be admitted by then, and an envelope that is in flight here
        may have been rejected there (which leaves its nonce unused) and be proposed again.
        """
        pool, seq = self._pool, block.seq
        opened: list[Transaction] = []
        keys: set[tuple[bytes, int]] = set()
        clients: set[bytes] = set()  # known ones, each asked for once
        for raw in block.transactions:
            transaction = pool.known(raw)
            # What is in custody is not executed: that ends it.
            spent = False
            if transaction is None:
                transaction = open_envelope(raw)
                spent = pool.spent(transaction.key)
            key = transaction.key
            if spent or key in keys:
                raise Refused(Reason.TX_NONCE_USED, "a transaction of the block is executed already, or twice in it")
            if transaction.body.valid_until < seq:
                raise Refused(Reason.TX_EXPIRED, "a transaction of the block is past its last height")
            if pool.in_flight(key):
                return None
            if key[0] not in clients:
                if not pool.client_known(key[0]):
                    if executed_seq < seq - 1:
                        return None
                    raise Refused(Reason.TX_UNKNOWN_CLIENT, "a transaction of the block is of no admitted client")
                clients.add(key[0])
            keys.add(key)
            opened.append(transaction)
        return tuple(opened)
