"""Clients: correct ones, whose every envelope must be executed in the end, and others.

A correct client submits to one or a few members and again while nobody who acknowledged it is still alive; so a
run shows that custody (docs/protocol.md, "View change") is enough. The others use wrong nonces, expire, sign two
envelopes with one nonce (faults.md A01), or are admitted and removed while they speak.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bftnode.apps import kv
from bftnode.apps.execution import ADMIT, REMOVE, SystemOperation, application_operation, system_operation
from bftnode.apps.log import append
from bftnode.protocol.nonces import CLIENT
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction
from bftnode.replica.effects import Answer
from simulations.crypto import Keyring
from simulations.judges import Judge, Key
from simulations.node import Node
from simulations.world import World

FAR_AHEAD = 1_000_000
"""A height that no run reaches."""

REGISTERS = (b"x", b"y")
VALUES = (b"0", b"1", b"2")

EQUIVOCATOR, LATECOMER = 1, 2
"""Clients with a part to play; 0 and the rest are correct administrators, so admitted from the start."""


@dataclass(slots=True)
class Submission:
    """One envelope of a correct client. `custodians` acknowledged it: place -> its life at that moment."""

    transaction: Transaction
    custodians: dict[int, int] = field(default_factory=dict)


class Workload:
    """Submits envelopes at random times within a span."""

    def __init__(
        self, world: World, keyring: Keyring, chain_id: bytes, nodes: Sequence[Node], judge: Judge, retry_ms: int
    ) -> None:
        self._world = world
        self._random = world.random("workload")
        self._keyring = keyring
        self._chain_id = chain_id
        self._nodes = nodes
        self._judge = judge
        self._retry_ms = retry_ms
        self._nonces = [0] * len(keyring.clients)
        self.required: dict[Key, Submission] = {}
        self._registers = judge.registers
        for node in nodes:
            node.answers = self._answered

    def transaction(self, client: int, nonce: int, operations: Sequence[bytes], valid_until: int) -> Transaction:
        body = TransactionBody(self._chain_id, self._keyring.clients[client], nonce, valid_until, tuple(operations))
        return sign_transaction(body, self._keyring.client_signer(client))

    def schedule(self, count: int, span_ms: int, *, odd: float) -> None:
        """`count` envelopes within the next `span_ms`; a share of `odd` of them is not a correct client's."""
        for _ in range(count):
            action = self._submit_odd if self._random.random() < odd else self._submit_correct
            self._world.after(self._random.randint(0, span_ms), action)

    def done(self) -> bool:
        executed = self._judge.executed
        return all(key in executed for key in self.required)

    # ---- correct clients

    def _submit_correct(self) -> None:
        dice = self._random
        client = dice.choice([i for i in range(len(self._nonces)) if i not in (EQUIVOCATOR, LATECOMER)])
        # Mostly the next nonce; gaps are allowed, and may be filled later.
        self._nonces[client] += dice.choice((1, 1, 1, 2, 50))
        if self._registers is None:
            self._require(self.transaction(client, self._nonces[client], self._records(), FAR_AHEAD))
            return
        raw = self._on_a_register()
        transaction = self.transaction(client, self._nonces[client], [application_operation(raw)], FAR_AHEAD)
        self._registers.began(transaction.id, kv.open_operation(raw), self._world.now_ms)
        self._require(transaction)

    def _on_a_register(self) -> bytes:
        """An operation on one of few keys, with few values, so that compare-and-swap often meets what it expects."""
        dice = self._random
        key, value = dice.choice(REGISTERS), dice.choice(VALUES)
        match dice.randint(0, 5):
            case 0 | 1:
                return kv.put(key, value)
            case 2 | 3:
                return kv.get(key)
            case 4:
                return kv.compare_and_swap(key, dice.choice((None, *VALUES)), dice.choice((None, *VALUES)))
            case _:
                return kv.delete(key)

    def _records(self) -> list[bytes]:
        """What nobody looks at again."""
        if self._registers is not None:
            return [application_operation(kv.put(b"elsewhere", self._random.randbytes(8)))]
        return [application_operation(append(self._random.randbytes(8))) for _ in range(self._random.choice((1, 1, 3)))]

    def _require(self, transaction: Transaction) -> None:
        submission = Submission(transaction)
        self.required[transaction.key] = submission
        self._offer(submission)

    def _offer(self, submission: Submission) -> None:
        """Submit, unless it is executed or somebody keeps it; look again later."""
        transaction = submission.transaction
        if transaction.key in self._judge.executed:
            return
        if not any(node.up and submission.custodians.get(node.place) == node.life for node in self._nodes):
            for node in self._random.sample(self._nodes, self._random.choice((1, 1, 2))):
                node.submit(transaction)
        self._world.after(self._retry_ms, self._offer, submission)

    def _answered(self, node: Node, answer: Answer) -> None:
        submission = self.required.get(answer.transaction.key)
        if submission is None or submission.transaction.id != answer.transaction.id:
            return
        if answer.reason is None and self._judge.is_correct(node):
            submission.custodians[node.place] = node.life
        else:
            submission.custodians.pop(node.place, None)

    def contraband(self) -> list[bytes]:
        """What no backup may accept in a proposal, and what execution has to reject."""
        expired = self.transaction(EQUIVOCATOR, 90_001, self._records(), 0)
        stranger = self.transaction(LATECOMER, 90_001, self._records(), FAR_AHEAD)
        far = self.transaction(EQUIVOCATOR, 2**40, self._records(), FAR_AHEAD)
        return [expired.raw, stranger.raw, far.raw]

    # ---- others

    def _submit_odd(self) -> None:
        match self._random.randint(0, 6):
            case 0 | 1:
                self._equivocate()
            case 2:
                self._wrong_nonce()
            case 3:
                self._expire()
            case 4:
                self._repeat()
            case 5:
                self._admit_or_remove(ADMIT)
            case _:
                self._admit_or_remove(REMOVE if self._random.random() < 0.3 else ADMIT)

    def _somewhere(self, transaction: Transaction) -> None:
        for node in self._random.sample(self._nodes, self._random.randint(1, len(self._nodes))):
            node.submit(transaction)

    def _equivocate(self) -> None:
        """Two envelopes under one nonce, to different members."""
        self._nonces[EQUIVOCATOR] += 1
        for _ in range(2):
            self._somewhere(self.transaction(EQUIVOCATOR, self._nonces[EQUIVOCATOR], self._records(), FAR_AHEAD))

    def _wrong_nonce(self) -> None:
        nonce = self._random.choice((0, self._nonces[EQUIVOCATOR], self._nonces[EQUIVOCATOR] + 100_000, 2**63 - 1))
        self._somewhere(self.transaction(EQUIVOCATOR, nonce, self._records(), FAR_AHEAD))

    def _expire(self) -> None:
        self._nonces[EQUIVOCATOR] += 1
        last = len(self._judge.log) + self._random.randint(-1, 2)
        self._somewhere(self.transaction(EQUIVOCATOR, self._nonces[EQUIVOCATOR], self._records(), max(0, last)))

    def _repeat(self) -> None:
        """Something of a correct client again, from somebody who has a copy."""
        if self.required:
            self._somewhere(self._random.choice(list(self.required.values())).transaction)

    def _admit_or_remove(self, action: int) -> None:
        """Client LATECOMER comes or goes, by client 0's word, and speaks in any case."""
        role = CLIENT if action == ADMIT else 0
        operation = system_operation(SystemOperation(action, self._keyring.clients[LATECOMER], role))
        self._nonces[0] += 1
        self._require(self.transaction(0, self._nonces[0], [operation], FAR_AHEAD))
        self._nonces[LATECOMER] += 1
        late = self.transaction(LATECOMER, self._nonces[LATECOMER], self._records(), FAR_AHEAD)
        self._somewhere(late)
        self._world.after(self._retry_ms, self._somewhere, late)
