"""Who plays in the worlds of four members: their keys, their application, what clients ask, and how they are timed."""

from bftnode.apps.execution import Executor, application_operation
from bftnode.apps.log import Records, append
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.transactions import Transaction, TransactionBody, sign_transaction
from bftnode.replica.position import Timing
from simulations.crypto import Keyring
from simulations.disks import Disk
from simulations.judges import Judge
from simulations.network import Network
from simulations.node import Envelopes
from simulations.simulation import CHAIN
from simulations.workload import FAR_AHEAD
from simulations.worlds.rounds import RoundNode, Rounds

N = 4
VIEW_MS = 1000
STATUS_MS = VIEW_MS // 2
TIMING = Timing(
    view_change_timeout_ms=VIEW_MS,
    view_change_timeout_max_ms=VIEW_MS,  # it does not double: views stay as long as what is done to them
    status_interval_ms=STATUS_MS,
    fetch_timeout_ms=STATUS_MS,
    courtesy_delay_ms=60 * VIEW_MS,
    courtesy_interval_ms=60 * VIEW_MS,
)
BOUND_MS = 10 * VIEW_MS
"""Within so long what was asked is executed once nothing is lost: 2f + 8 timeouts, as in swarm.py."""

CLIENTS = 2
OPERATIONS = 4


class Cast:
    """What the worlds have in common; nothing in here changes. Made for each slice: the membership knows its quorum."""

    def __init__(self) -> None:
        self.keyring = Keyring(N, CLIENTS)
        self.members = Membership(CHAIN, 0, self.keyring.members, Parameters(checkpoint_interval=1000))
        self.executor = Executor(Records(), self.keyring.clients, 100)
        self.envelopes = Envelopes(self.members, self.executor, self.keyring.verify)
        self.verify = self.keyring.verify
        self.signers = [self.keyring.member_signer(member) for member in range(N)]
        # nonce - 1 -> each client's operation with that nonce
        self.operations = [
            [self._operation(client, nonce + 1) for client in range(CLIENTS)] for nonce in range(OPERATIONS)
        ]
        shared = [self, self.keyring, self.verify, *self.signers, self.members, self.executor, self.envelopes, TIMING]
        self.shared = {f"shared {number}": thing for number, thing in enumerate(shared)}

    def _operation(self, client: int, nonce: int) -> Transaction:
        operation = application_operation(append(b"%d/%d" % (client, nonce)))
        body = TransactionBody(CHAIN, self.keyring.clients[client], nonce, FAR_AHEAD, (operation,))
        return sign_transaction(body, self.keyring.client_signer(client))

    def judge(self, *faulty: int) -> Judge:
        """The bench, where these members owe nothing."""
        return Judge(self.members, self.verify, faulty, self.keyring.clients)

    def settle(
        self, rounds: Rounds, network: Network, judge: Judge, place: int, member: int, kind: type[RoundNode] = RoundNode
    ) -> RoundNode:
        """A node that has not started."""
        node = kind(
            rounds,
            network,
            judge,
            self.members,
            member,
            self.signers[member],
            self.verify,
            self.envelopes,
            Disk(self.members, self.executor),
            TIMING,
            place=place,
        )
        node.behind_ms = 1
        return node


def introduce(rounds: Rounds) -> None:
    """All start, and hear a STATUS of everybody they hear, so that they may vote; up to when the next one is due."""
    for node in rounds.nodes:
        node.start()
    rounds.run(STATUS_MS - 1)
    rounds.now_ms += 1
