"""Another cluster with the same members and keys: another chain, or another epoch of this one (faults.md R06, R08).

It lives for two seconds before anything happens here, with a view change, and everything that is said in it is
written down. Only keys join the two worlds.
"""

from bftnode.apps.execution import Executor, application_operation
from bftnode.apps.log import Records, append
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.messages import Kind
from bftnode.protocol.transactions import TransactionBody, sign_transaction
from bftnode.replica.position import Timing
from simulations.adversaries.other_cluster import OtherCluster
from simulations.crypto import Keyring
from simulations.disks import Disk
from simulations.judges import Judge, kind_of
from simulations.network import Network
from simulations.node import Envelopes, Node
from simulations.world import World, unheard

LIVES_MS = 2500
ENVELOPES = 3
FRAMES_MAX = 400
"""Of what is said; the first of them. Words that say nothing (STATUS) are not kept."""

TIMING = Timing(300, 1200, 200, 400, 2000, 6000)


def inform(behaviour: OtherCluster, keyring: Keyring, members: Membership) -> None:
    """Let a liar know what was said there."""
    chain_id = members.chain_id if behaviour.chain_id is None else behaviour.chain_id
    behaviour.learn(recorded(keyring, members.parameters, chain_id, behaviour.epoch))


def recorded(keyring: Keyring, parameters: Parameters, chain_id: bytes, epoch: int) -> list[bytes]:
    """Frames, each once, in the order in which they were said."""
    with unheard():
        world = World(f"elsewhere {chain_id.hex()} {epoch}")
        network = Network(world)
        members = Membership(chain_id, epoch, keyring.members, parameters)
        judge = Judge(members, keyring.verify, (), keyring.clients)
        executor = Executor(Records(), keyring.clients, 100)
        envelopes = Envelopes(members, executor, keyring.verify)
        nodes = [
            Node(
                world,
                network,
                judge,
                members,
                member,
                keyring.member_signer(member),
                keyring.verify,
                envelopes,
                Disk(members, executor),
                TIMING,
            )
            for member in range(members.n)
        ]
        frames: dict[bytes, None] = {}

        def written_down(place: int, to: int, frame: bytes) -> bool:
            if kind_of(frame) != Kind.STATUS and len(frames) < FRAMES_MAX:
                frames[frame] = None
            return True

        network.rule = written_down
        for node in nodes:
            world.after(0, node.start)
        for nonce in range(1, ENVELOPES + 1):
            world.at(100 * nonce, _submit, keyring, chain_id, nonce, nodes)
        world.at(150, nodes[0].crash)
        world.at(1500, nodes[0].start)
        world.run(LIVES_MS)
    return list(frames)


def _submit(keyring: Keyring, chain_id: bytes, nonce: int, nodes: list[Node]) -> None:
    operation = application_operation(append(b"elsewhere"))
    body = TransactionBody(chain_id, keyring.clients[0], nonce, 1_000_000, (operation,))
    transaction = sign_transaction(body, keyring.client_signer(0))
    for node in nodes:
        node.submit(transaction)
