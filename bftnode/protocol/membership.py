"""Who the members are in one epoch, and the thresholds that follow from how many they are."""

from bftnode.protocol import quorums
from bftnode.protocol.codec import UInt, Wire
from bftnode.protocol.ed25519 import check_public_key
from bftnode.protocol.errors import Reason, Refused
from bftnode.protocol.limits import TRANSACTION_BYTES_MAX


class Parameters(Wire, frozen=True):
    """What all members must agree on besides who they are. Part of the genesis, so of the chain id."""

    block_transactions_max: UInt = 2000  # a fuller block is refused by backups
    block_bytes_max: UInt = 1024 * 1024  # of envelopes; a larger block is refused by backups
    window: UInt = 8  # blocks in flight; the primary waits for commits beyond it
    checkpoint_interval: UInt = 128  # blocks between signed CHECKPOINTs
    clock_skew_ms: UInt = 30_000  # a proposal further ahead of a backup's clock is not accepted yet
    clients_max: UInt = 10_000  # admitted clients; admitting one more is rejected, deterministically

    def check(self) -> None:
        """Raises Refused(CONFIGURATION) naming the parameter that cannot work."""
        limits = {
            "block_transactions_max": (1, 20_000),
            "block_bytes_max": (2 * TRANSACTION_BYTES_MAX, 1024 * 1024),  # any envelope fits into a block
            "window": (1, 8),
            "checkpoint_interval": (1, 1_000_000),
            "clock_skew_ms": (1, 86_400_000),
            "clients_max": (1, 1_000_000),
        }
        for name, (least, most) in limits.items():
            if not least <= getattr(self, name) <= most:
                raise Refused(Reason.CONFIGURATION, f"parameters.{name} must be between {least} and {most}")


class Membership:
    """The members of one epoch, by index (sorted by public key), with the chain that they agree on. Immutable."""

    def __init__(self, chain_id: bytes, epoch: int, public_keys: tuple[bytes, ...], parameters: Parameters) -> None:
        n = len(public_keys)
        if not quorums.MEMBERS_MIN <= n <= quorums.MEMBERS_MAX:
            raise Refused(
                Reason.CONFIGURATION,
                f"{n} members: a cluster has {quorums.MEMBERS_MIN} to {quorums.MEMBERS_MAX} (3f+1 for f faults)",
            )
        if list(public_keys) != sorted(set(public_keys)):
            raise Refused(Reason.CONFIGURATION, "members are sorted by public key and differ")
        for key in public_keys:
            check_public_key(key)
        parameters.check()
        self.chain_id = chain_id
        self.epoch = epoch
        self.public_keys = public_keys
        self.parameters = parameters
        self.n = n
        self.f = quorums.max_faulty(n)
        self.quorum = quorums.quorum(n)
        self.some_correct = quorums.some_correct(n)

    def primary_of(self, view: int) -> int:
        return quorums.primary_of(view, self.n)
