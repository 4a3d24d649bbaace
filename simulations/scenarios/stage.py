"""A small world with a script instead of dice: a perfect network, a rule for what is lost, and nodes to command.

What the judge looks at all the time (judges/) it looks at here too; a scenario that goes wrong raises Violation.
"""

import hashlib
from collections.abc import Callable
from typing import TypeVar

from bftnode.apps.execution import Executor, application_operation
from bftnode.apps.log import Records, append
from bftnode.protocol.blocks import open_header
from bftnode.protocol.certificates import Vote
from bftnode.protocol.cosigning import CheckpointKeys, CheckpointSigner
from bftnode.protocol.ed25519 import Signer, Verifier, public_key_of, signer
from bftnode.protocol.envelope import open_frame
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.messages import Kind, PrePrepare, open_body
from bftnode.protocol.tlog.policy import MemberKeys
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction
from bftnode.replica import agreement
from bftnode.replica.position import Timing
from simulations.adversaries.liar import Behaviour, Liar
from simulations.adversaries.twins import Numbering, Twin
from simulations.crypto import Keyring
from simulations.disks import Disk
from simulations.judges import Judge
from simulations.network import Network
from simulations.node import Envelopes, Node
from simulations.simulation import CHAIN, QUICK
from simulations.workload import FAR_AHEAD
from simulations.world import Violation, World

CLIENTS = 4

T = TypeVar("T", bound=Node)

Loss = Callable[[int, int, Kind, int, int], bool]
"""(from, to, kind, view, height) -> whether it is lost. View and height are those of proposals and votes, else 0."""


def log_seed(member: int) -> bytes:
    """The secret of a member's log key."""
    return hashlib.sha256(b"log key %d" % member).digest()


def log_members(members: Membership) -> list[MemberKeys]:
    """Everybody's public keys; log keys are real ones, for everybody's tools."""
    publics = [public_key_of(log_seed(member)) for member in range(members.n)]
    return [MemberKeys(f"m{i}", members.public_keys[i], key, key) for i, key in enumerate(publics)]


class Stage:
    """Nodes of n members; all up, nothing submitted yet. Pipelining starts with the second envelope that waits."""

    honest: type[Node] = Node
    """What a node is that is no liar."""

    def __init__(
        self,
        n: int = 4,
        *,
        seed: str = "stage",
        liars: dict[int, list[Behaviour]] | None = None,
        twins: tuple[int, ...] = (),
        faulty: tuple[int, ...] = (),
        parameters: Parameters | None = None,
        timing: Timing = QUICK,
        remember: int = 0,
        real_signatures: bool = False,
        cosigns: bool = False,
    ) -> None:
        liars = liars or {}
        self.world = World(seed, remember=remember)
        self.network = Network(self.world)
        self.keyring = Keyring(n, CLIENTS, real=real_signatures)
        self.timing = timing
        parameters = parameters or Parameters(block_transactions_max=1, checkpoint_interval=4)
        self.members = Membership(CHAIN, 0, self.keyring.members, parameters)
        self.judge = Judge(self.members, self.keyring.verify, [*liars, *twins, *faulty], self.keyring.clients)
        self._executor = Executor(Records(), self.keyring.clients, 100)
        self.envelopes = Envelopes(self.members, self._executor, self.keyring.verify)
        self.nodes: list[Node] = []
        self.twins: list[Node] = []  # the second of each, at the places from n on
        self._nonces = [0] * CLIENTS
        for member in range(n):
            node = self._node(Liar if member in liars or member in twins else self.honest, member, member)
            if isinstance(node, Liar) and member in liars:
                node.misbehave(liars[member], self.world.random(f"liar {member}"))
            self.nodes.append(node)
        for place, member in enumerate(twins, n):
            self.twins.append(self._twin(member, place))
        self.log_members = log_members(self.members)
        self.log_keys = CheckpointKeys(CHAIN, self.log_members)
        for node in self.everywhere if cosigns else ():
            sign = signer(log_seed(node.member))
            node.cosigner = CheckpointSigner(self.log_keys, node.member, sign, (sign,))
        for node in self.everywhere:
            node.start()
        self.pipeline = 1
        self.run(20)

    def _node(self, kind: type[T], member: int, place: int) -> T:
        return kind(
            self.world,
            self.network,
            self.judge,
            self.members,
            member,
            self.signer_of(member),
            self.verifier_of(member),
            self.envelopes,
            Disk(self.members, self._executor),
            self.timing,
            place=place,
        )

    def signer_of(self, member: int) -> Signer:
        return self.keyring.member_signer(member)

    def verifier_of(self, _member: int) -> Verifier:
        """What its replica verifies with."""
        return self.keyring.verify

    def _twin(self, member: int, place: int) -> Node:
        """A second copy of a member; both say what they say under common numbers."""
        one, other, numbering = self.nodes[member], self._node(Liar, member, place), Numbering()
        assert isinstance(one, Liar), "made so"
        for twin in (one, other):
            dice = self.world.random(f"twin {twin.place}")
            twin.misbehave([Twin(dice, numbering)], dice)
        return other

    # ---- commands

    def run(self, ms: int, done: Callable[[], bool] | None = None) -> bool:
        """Let so much time pass, or less, until it is done."""
        before, agreement.PIPELINE_TRANSACTIONS = agreement.PIPELINE_TRANSACTIONS, self.pipeline
        try:
            return self.world.run(self.world.now_ms + ms, done)
        finally:
            agreement.PIPELINE_TRANSACTIONS = before

    def transaction(self, client: int = 0, *, nonce: int | None = None, text: bytes = b"") -> Transaction:
        """An envelope under the client's next nonce, or under this one."""
        if nonce is None:
            self._nonces[client] += 1
            nonce = self._nonces[client]
        operation = application_operation(append(b"%d/%d" % (client, nonce) + text))
        body = TransactionBody(CHAIN, self.keyring.clients[client], nonce, FAR_AHEAD, (operation,))
        return sign_transaction(body, self.keyring.client_signer(client))

    def transactions_of_one_nonce(self, client: int) -> tuple[Transaction, Transaction]:
        """Two different envelopes (faults.md A01)."""
        one = self.transaction(client)
        return one, self.transaction(client, nonce=self._nonces[client], text=b" or otherwise")

    def submit(self, *places: int, client: int = 0) -> Transaction:
        """A fresh envelope to these places (to all, if none is named)."""
        transaction = self.transaction(client)
        for place in places or range(len(self.nodes)):
            self.nodes[place].submit(transaction)
        return transaction

    def lose(self, loss: Loss | None) -> None:
        """From now on, until told otherwise."""

        def may_pass(place: int, to: int, raw: bytes) -> bool:
            assert loss is not None, "asked while there is a rule"
            frame = open_frame(raw)
            body = open_body(frame)
            match body:
                case Vote():
                    view, seq = body.view, body.seq
                case PrePrepare():
                    view, seq = body.view, open_header(body.header).seq
                case _:
                    view, seq = getattr(body, "view", 0), 0
            return not loss(place, to, Kind(frame.kind), view, seq)

        self.network.rule = None if loss is None else may_pass

    def isolate(self, place: int) -> None:
        others = [node.place for node in self.nodes if node.place != place]
        self.network.cut_between([place], others)

    # ---- questions

    @property
    def everywhere(self) -> list[Node]:
        """Who lives at each place, by its number."""
        return [*self.nodes, *self.twins]

    def height(self, place: int) -> int:
        return self.nodes[place].disk.height

    def view(self, place: int) -> int:
        return self.nodes[place].replica.position.view

    def expect_height(self, height: int, *places: int, within_ms: int = 30_000) -> None:
        """That these (all) get there in time."""
        nodes = [self.nodes[place] for place in places] if places else self.nodes
        if not self.run(within_ms, lambda: all(node.disk.height >= height for node in nodes)):
            stand = ", ".join(f"{node.name} {node.disk.height}" for node in nodes)
            raise Violation("liveness", f"height {height} is not reached in {within_ms} ms: {stand}")

    def expect_executed(self, transaction: Transaction, *, within_ms: int = 30_000) -> None:
        """That every node that is no liar executes it in time."""
        if not self.run(within_ms, lambda: transaction.key in self.judge.executed):
            raise Violation("liveness", f"nonce {transaction.key[1]} is not executed in {within_ms} ms")
        correct = [node.place for node in self.nodes if self.judge.is_correct(node)]
        self.expect_height(self.judge.executed[transaction.key], *correct, within_ms=within_ms)
