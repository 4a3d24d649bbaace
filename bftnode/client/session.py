"""A client's thinking: what to send to whom, when to send it again, and when to believe an answer. Pure.

No I/O, no clock, no randomness: it is fed with answers and the time in milliseconds, and asked what to send. The
trio client drives it over TLS, the simulator over a modelled network. docs/protocol.md, "Transactions":

- An envelope goes to every member, at once and again (doubling pauses) to those that are silent or said NACK. Its
  bytes never change, and nothing is executed twice, so repeating is always safe.
- A result is believed when f+1 members sent the same bytes: one of them is correct. A member's first result for a
  transaction is the one that counts (faults.md A07).
- A rejection is final when it cannot be undone by what happens later. Reasons in the envelope itself, and those that
  once true stay true (its nonce is used by another, its last block has passed), need f+1: one correct member knows.
  Reasons that depend on how far a member is (a client not admitted yet) need a quorum: a correct member that lags
  and one that lies must not be enough.

Bounds: the caller limits how many transactions it has outstanding; for each, one vote of at most 256 bytes a member.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from typing import NamedTuple

from bftnode.client.outcomes import Believed, ExecutedLongAgo, NeverOrdered, Outcome
from bftnode.protocol.client_messages import (
    SUBMIT_ENVELOPES_MAX,
    Ack,
    Forgotten,
    Nack,
    Reject,
    Result,
    TransactionAnswer,
    reason_of,
)
from bftnode.protocol.codec import decoder_of, encode
from bftnode.protocol.ed25519 import Signer
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.limits import OPERATIONS_MAX, TRANSACTION_BYTES_MAX
from bftnode.protocol.membership import Membership
from bftnode.protocol.results import TransactionResult
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction

SUBMIT_BYTES_TARGET = 1024 * 1024
"""A SUBMIT ends with the envelope that reaches this size."""

VOTE_BYTES_MAX = 256
"""A result up to this long is compared as it is, a longer one by its hash."""

HEIGHT_MAX = 2**63 - 1

FOR_EVER = frozenset(
    (
        Reason.TX_MALFORMED,
        Reason.TX_SIZE,
        Reason.TX_SIGNATURE,
        Reason.TX_INVALID_OPERATION,
        Reason.WRONG_CHAIN,
        Reason.TX_EXPIRED,
        Reason.TX_NONCE_USED,
        Reason.TX_NONCE_OLD,
    )
)
"""What a correct member that says it once would always say: an executed transaction is answered with its result."""

_open_result = decoder_of(TransactionResult, 4 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class Retry:
    """Pauses before an envelope is sent again to those who have not answered it; each is twice the one before."""

    first_ms: int = 1000
    max_ms: int = 30_000
    after_nack_ms: int = 100  # a member that had no room may have some soon
    acked_from: int = 4  # from this attempt on also to those who said ACK: nothing relies on one message


class Key(NamedTuple):
    """A client's key, as far as signing needs it."""

    public_key: bytes
    sign: Signer


class _Watched:
    """A transaction whose outcome is waited for. Members are bits of the masks."""

    __slots__ = (
        "acked",
        "attempts",
        "due_ms",
        "envelope",
        "for_ever",
        "id",
        "last_nack",
        "rejected",
        "sent",
        "voted",
        "votes",
    )

    def __init__(self, name: bytes, envelope: bytes | None) -> None:
        self.id = name
        self.envelope = envelope  # None: somebody else's, only waited for
        self.attempts = 0
        self.due_ms = 0
        self.sent = 0
        self.acked = 0
        self.for_ever = 0  # rejected for a reason in FOR_EVER
        self.rejected: dict[int, str] = {}
        self.voted = 0  # has sent a result
        self.votes: dict[bytes | str, int] = {}  # a result, or the digest of a long one -> who sent it
        self.last_nack = ""

    def settled(self) -> int:
        """Who has said all that is to be said."""
        mask = self.voted
        for member in self.rejected:
            mask |= 1 << member
        return mask


class Session:
    """One client key's conversation with all members."""

    def __init__(self, members: Membership, public_key: bytes, sign: Signer, retry: Retry) -> None:
        self.members = members
        self.public_key = public_key
        self.disagreements = [0] * members.n  # results of each member that were not the believed ones
        self._key = Key(public_key, sign)
        self._retry = retry
        self._watched: dict[bytes, _Watched] = {}
        self._queues: list[dict[bytes, _Watched] | None] = [None] * members.n  # None: not connected
        self._timers: list[tuple[int, int, _Watched]] = []
        self._timer_number = 0
        self._heights = [0] * members.n
        self._height = 0
        self._nonces = [0] * members.n
        self.floor = 0  # the highest block known to be executed by a correct member

    # Making envelopes

    def height(self) -> int:
        """A height that a correct member has reached: the (f+1)-th highest that members report, or one proven."""
        return max(self.floor, self._height)

    def highest_nonce(self) -> int:
        """A nonce of ours that is used or below one that is: the (f+1)-th highest that members report."""
        return sorted(self._nonces, reverse=True)[self.members.f]

    def sign(
        self, operations: Sequence[bytes], nonce: int, valid_for_blocks: int, key: Key | None = None
    ) -> Transaction:
        """An envelope signed by `key`, or by our own; not yet submitted. Raises Refused(TX_SIZE | TX_MALFORMED)."""
        if not 0 < len(operations) <= OPERATIONS_MAX:
            raise Refused(Reason.TX_MALFORMED, f"an envelope has 1 to {OPERATIONS_MAX} operations")
        valid_until = min(self.height() + valid_for_blocks, HEIGHT_MAX)
        public_key, sign = key or self._key
        body = TransactionBody(self.members.chain_id, public_key, nonce, valid_until, tuple(operations))
        transaction = sign_transaction(body, sign)
        if len(transaction.raw) > TRANSACTION_BYTES_MAX:
            raise Refused(Reason.TX_SIZE, f"an envelope is at most {TRANSACTION_BYTES_MAX} bytes")
        return transaction

    # What the user wants

    def submit(self, transaction: Transaction, now_ms: int) -> None:
        """Have it ordered; its outcome comes out of `answer`."""
        self._watch(transaction.id, transaction.raw, now_ms)

    def watch(self, name: bytes, now_ms: int) -> None:
        """Wait for the outcome of a transaction that need not be ours."""
        self._watch(name, None, now_ms)

    def forget(self, name: bytes) -> None:
        """Nobody waits for it any more: it is not sent again. It may be executed all the same."""
        watched = self._watched.pop(name, None)
        if watched is not None:
            for queue in self._queues:
                if queue is not None:
                    queue.pop(name, None)

    def progress(self, name: bytes) -> str:
        """For people: how an outstanding transaction stands."""
        watched = self._watched.get(name)
        if watched is None:
            return "not outstanding"
        said = (
            f"sent to {watched.sent.bit_count()} of {self.members.n} members, {watched.acked.bit_count()} took it, "
            f"{watched.voted.bit_count()} sent a result, {len(watched.rejected)} rejected it"
        )
        return f"{said}; the last said {watched.last_nack}" if watched.last_nack else said

    @property
    def outstanding(self) -> int:
        return len(self._watched)

    # What the world does

    def connected(self, member: int, height: int, highest_nonce: int) -> None:
        """A member is there (again): it gets all that it has not settled, whatever it said on another connection."""
        self._queues[member] = queue = {}
        self._nonces[member] = highest_nonce
        self.saw_height(member, height)
        bit = 1 << member
        for name, watched in self._watched.items():
            watched.acked &= ~bit
            if not watched.settled() & bit:
                queue[name] = watched

    def disconnected(self, member: int) -> None:
        self._queues[member] = None

    def saw_height(self, member: int, height: int) -> None:
        """A member says that it has executed this block."""
        if height > self._heights[member]:
            self._heights[member] = height
            self._height = sorted(self._heights, reverse=True)[self.members.f]

    def reported_height(self, member: int) -> int:
        """What a member said last; its word only."""
        return self._heights[member]

    def answer(self, member: int, answer: TransactionAnswer, now_ms: int) -> Outcome | None:
        """What a member says about a transaction; the outcome, once, when that settles it."""
        watched = self._watched.get(answer.transaction)
        if watched is None:
            return None  # settled, or never ours: the others' business or a lie, and harmless
        bit = 1 << member
        if type(answer) is Ack:
            watched.acked |= bit
            self._unreject(watched, member)
            return None
        if type(answer) is Result:
            return self._vote(watched, member, answer.result, None)
        if isinstance(answer, Forgotten):
            return self._vote(watched, member, encode((answer.seq, answer.index)), answer)
        watched.acked &= ~bit
        if isinstance(answer, Reject):
            return self._reject(watched, member, answer.code)
        if isinstance(answer, Nack):
            self._unreject(watched, member)
            watched.last_nack = str(reason_of(answer.code))
            self._arm(watched, now_ms + self._spread(watched, self._retry.after_nack_ms << min(watched.attempts, 8)))
        return None

    def tick(self, now_ms: int) -> None:
        """Queue again what is due."""
        while self._timers and self._timers[0][0] <= now_ms:
            due_ms, _, watched = heappop(self._timers)
            if watched.due_ms != due_ms or self._watched.get(watched.id) is not watched:
                continue
            watched.attempts += 1
            done = watched.settled()
            if watched.attempts < self._retry.acked_from:
                done |= watched.acked
            for member, queue in enumerate(self._queues):
                if queue is not None and not done >> member & 1:
                    queue[watched.id] = watched
            watched.due_ms = 0
            self._arm(watched, now_ms + self._pause(watched))

    def next_due_ms(self) -> int | None:
        """When to `tick` next; None: nothing is outstanding."""
        while self._timers:
            due_ms, _, watched = self._timers[0]
            if watched.due_ms == due_ms and self._watched.get(watched.id) is watched:
                return due_ms
            heappop(self._timers)
        return None

    # What to send

    def waiting(self, member: int) -> bool:
        """Whether `take` has something for this member."""
        return bool(self._queues[member])

    def take(self, member: int) -> tuple[list[bytes], list[bytes]]:
        """(envelopes to SUBMIT, ids to WAIT for): one frame's worth of each, in order. Empty when there is nothing."""
        queue = self._queues[member]
        envelopes: list[bytes] = []
        names: list[bytes] = []
        size, bit = 0, 1 << member
        if queue and len(queue) <= SUBMIT_ENVELOPES_MAX:
            # Mostly all of it fits; then it is not taken out one by one.
            for name, watched in queue.items():
                watched.sent |= bit
                if watched.envelope is None:
                    names.append(name)
                else:
                    envelopes.append(watched.envelope)
            if sum(map(len, envelopes)) <= SUBMIT_BYTES_TARGET:
                queue.clear()
                return envelopes, names
            envelopes, names = [], []
        while queue and size < SUBMIT_BYTES_TARGET and len(envelopes) + len(names) < SUBMIT_ENVELOPES_MAX:
            name = next(iter(queue))
            watched = queue.pop(name)
            watched.sent |= bit
            if watched.envelope is None:
                names.append(name)
            else:
                envelopes.append(watched.envelope)
                size += len(watched.envelope)
        return envelopes, names

    # The rules

    def _watch(self, name: bytes, envelope: bytes | None, now_ms: int) -> None:
        watched = self._watched.get(name)
        if watched is None:
            watched = self._watched[name] = _Watched(name, envelope)
        elif watched.envelope is not None or envelope is None:
            return  # known, and nothing new to send
        else:
            watched.envelope = envelope
        for queue in self._queues:
            if queue is not None:
                queue[name] = watched
        self._arm(watched, now_ms + self._pause(watched))

    def _vote(self, watched: _Watched, member: int, content: bytes, forgotten: Forgotten | None) -> Outcome | None:
        """Count a member's first result; f+1 of one kind settle the transaction."""
        bit = 1 << member
        if watched.voted & bit:
            return None
        watched.voted |= bit
        if watched.rejected:
            self._unreject(watched, member)
        key = content if len(content) <= VOTE_BYTES_MAX else hashlib.sha256(content).hexdigest()
        voters = watched.votes[key] = watched.votes.get(key, 0) | bit
        if voters.bit_count() < self.members.some_correct:
            return None
        outcome: Outcome
        dissent = watched.voted & ~voters
        if forgotten is not None:
            outcome = ExecutedLongAgo(watched.id, forgotten.seq, forgotten.index)
        else:
            try:
                result: TransactionResult = _open_result(content)
            except Refused:
                return None  # more than f members lie; nothing is believed
            if result.transaction != watched.id:
                return None
            outcome = Believed(result, content, _members_of(voters), _members_of(dissent))
            self.floor = max(self.floor, result.seq)
            if dissent:
                for liar in _members_of(dissent):
                    self.disagreements[liar] += 1
        self.forget(watched.id)
        return outcome

    def _reject(self, watched: _Watched, member: int, code: str) -> Outcome | None:
        reason = reason_of(code)
        bit = 1 << member
        if reason is Reason.UNEXPECTED or watched.voted & bit:
            return None  # a reason that we cannot weigh is silence
        self._unreject(watched, member)
        watched.rejected[member] = str(reason)
        if reason in FOR_EVER:
            watched.for_ever |= bit
        final = watched.for_ever.bit_count() >= self.members.some_correct
        if not final and len(watched.rejected) < self.members.quorum:
            return None
        self.forget(watched.id)
        return NeverOrdered(watched.id, self._common(watched, final))

    def _common(self, watched: _Watched, final: bool) -> str:
        """The reason that most of those who count gave; the first in alphabetical order among equals."""
        codes = [code for member, code in watched.rejected.items() if not final or watched.for_ever >> member & 1]
        return max(sorted(set(codes)), key=codes.count)

    @staticmethod
    def _unreject(watched: _Watched, member: int) -> None:
        if watched.rejected.pop(member, None) is not None:
            watched.for_ever &= ~(1 << member)

    def _pause(self, watched: _Watched) -> int:
        return self._spread(watched, min(self._retry.first_ms << min(watched.attempts, 16), self._retry.max_ms))

    @staticmethod
    def _spread(watched: _Watched, pause_ms: int) -> int:
        """Up to a quarter more, by the transaction's hash: many that failed together do not return together."""
        return pause_ms + (pause_ms * watched.id[0] >> 10)

    def _arm(self, watched: _Watched, due_ms: int) -> None:
        """At `due_ms`, unless it is due earlier already."""
        if watched.due_ms and watched.due_ms <= due_ms:
            return
        watched.due_ms = due_ms
        self._timer_number += 1
        heappush(self._timers, (due_ms, self._timer_number, watched))


@lru_cache(1024)
def _members_of(mask: int) -> tuple[int, ...]:
    return tuple(member for member in range(mask.bit_length()) if mask >> member & 1)
