"""What all judges know: who the members are, who owes the truth, and the one log that correct members write.

It trusts no arithmetic of the replica's: the quorum is computed here again.
"""

from collections.abc import Iterable
from typing import Protocol

from bftnode.protocol.ed25519 import Verifier
from bftnode.protocol.membership import Membership
from bftnode.replica.core import Replica
from simulations.disks import Disk
from simulations.world import World

Key = tuple[bytes, int]
"""(client, nonce)."""


class Judged(Protocol):
    """What a judge needs to know of a node."""

    member: int
    disk: Disk
    name: str
    world: World

    @property
    def replica(self) -> Replica: ...


def kind_of(frame: bytes) -> int:
    """The kind of an encoded frame: the first element of its array (a one-byte integer)."""
    return frame[1]


class Court:
    """Common knowledge. `log` and `executed` are written by their judges (order.py, validity.py) and read by all."""

    def __init__(self, members: Membership, verify: Verifier, faulty: Iterable[int]) -> None:
        self.members = members
        self.verify = verify
        self.faulty = dict.fromkeys(faulty)
        self.faulty_max = (members.n - 1) // 3
        self.quorum = (members.n + self.faulty_max) // 2 + 1
        self.log: list[tuple[bytes, tuple[bytes, ...], bytes]] = [(b"", (), b"")]  # (hash, results, state digest)
        self.nodes: dict[int, Judged] = {}  # correct members' nodes, as they were seen last
        self.executed: dict[Key, int] = {}  # (client, nonce) -> height, over everything that anyone committed

    def is_correct(self, node: Judged) -> bool:
        """Whether this node owes us anything: neither a liar nor one whose disk was wiped or rolled back."""
        return node.member not in self.faulty
