"""Bounded memory: what each room of the replica promises in its own words, counted from outside, liars' included."""

from collections.abc import Mapping

from bftnode.replica.chain import BLOCKS_MAX
from bftnode.replica.checkpoints import KEPT_PER_MEMBER
from bftnode.replica.sync import WANTED_MAX
from bftnode.replica.view_change import CERTIFICATES_REMEMBERED
from bftnode.replica.voice import ACCUSATIONS_MAX
from bftnode.replica.votes import BALLOTS_MAX
from bftnode.replica.watch import LEVEL_MAX
from simulations.judges.court import Court, Judged
from simulations.world import Violation

TURNS_BETWEEN_COUNTS = 16
"""Counting is dear and what grows without bound goes on growing: one turn in so many is looked at."""


class Bounds:
    """Counts what a replica keeps."""

    def __init__(self, court: Court) -> None:
        self._members = court.members

    def count(self, node: Judged) -> None:
        """Raises Violation where something is larger than its room says."""
        replica, members = node.replica, self._members
        window = 2 * members.parameters.window
        ballots = 2 * members.n * BALLOTS_MAX
        sizes = {
            "votes": (len(replica.votes._heights), window + 2),  # and the last votes, for a base far above
            "ballots": (
                max((_ballots(height.tallies) for height in replica.votes._heights.values()), default=0),
                ballots,
            ),
            "verified": (len(replica.votes._verified), 64 + window * ballots),
            "waiting": (replica.agreement._proposals.waiting, window),
            "accepted": (len(replica.agreement.accepted), window + 1),
            "blocks": (len(replica.chain), BLOCKS_MAX),
            "view changes": (len(replica.view_changes._slots), members.n),
            "certificates": (len(replica.memo._valid), CERTIFICATES_REMEMBERED),
            "wanted": (len(replica.sync._wanted), WANTED_MAX),
            "peers": (len(replica.sync.peers), members.n - 1),
            "checkpoints": (max((len(of) for of in replica.checkpoints._of.values()), default=0), KEPT_PER_MEMBER),
            "accusations": (max((len(of) for of in replica.voice._accused.values()), default=0), ACCUSATIONS_MAX),
            "forks told of": (max(len(replica.forks._told), len(replica.forks._deaf_until_ms)), members.n - 1),
            "late proposals": (len(replica.watch._accepted_ms), window + 1),
            "told": (len(replica.watch._told), members.parameters.block_transactions_max),
            "complaints": (len(replica.watch._complaints), members.n - 1),
            "passed over": (len(replica.watch._kept_out), members.f),
            "found slow": (len(replica.watch._found_ms), members.f + LEVEL_MAX),
        }
        for name, (size, bound) in sizes.items():
            if size > bound:
                raise Violation("bounded", f"{node.name} keeps {size} {name}; the bound is {bound}")


def _ballots(tallies: Mapping[tuple[int, int, bytes], Mapping[int, object]]) -> int:
    return sum(len(tally) for tally in tallies.values())
