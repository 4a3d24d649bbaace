"""Byzantine behaviours, one a file. `BEHAVIOURS` is what the swarm draws from."""

from collections.abc import Callable
from random import Random

from simulations.adversaries.body_withholder import BodyWithholder
from simulations.adversaries.censor import Censor
from simulations.adversaries.checkpoint_liar import CheckpointLiar
from simulations.adversaries.complainer import Complainer
from simulations.adversaries.crooked_certificate import CrookedCertificate
from simulations.adversaries.decisive_vote import DecisiveVote
from simulations.adversaries.equivocating_primary import EquivocatingPrimary
from simulations.adversaries.fabricator import Fabricator
from simulations.adversaries.flooder import Flooder
from simulations.adversaries.fork_forger import ForkForger
from simulations.adversaries.framer import Framer
from simulations.adversaries.hidden_certificate import HiddenCertificate
from simulations.adversaries.invalid_signature import InvalidSignature
from simulations.adversaries.late_equivocator import LateEquivocator
from simulations.adversaries.liar import Behaviour
from simulations.adversaries.lying_view_change import LyingViewChange
from simulations.adversaries.new_view_liar import NewViewLiar
from simulations.adversaries.old_epoch import OldEpoch
from simulations.adversaries.other_cluster import OtherCluster
from simulations.adversaries.other_kind import OtherKind
from simulations.adversaries.replayer import Replayer
from simulations.adversaries.run_liar import RunLiar
from simulations.adversaries.selective import Selective
from simulations.adversaries.shrinking_height import ShrinkingHeight
from simulations.adversaries.silent import Silent
from simulations.adversaries.size_bomber import SizeBomber
from simulations.adversaries.slow_primary import SlowPrimary
from simulations.adversaries.view_spammer import ViewSpammer
from simulations.adversaries.vote_equivocator import VoteEquivocator

BEHAVIOURS: dict[str, Callable[[Random], Behaviour]] = {
    "equivocating primary": EquivocatingPrimary,
    "lying view change": LyingViewChange,
    "silent": Silent,
    "vote equivocator": VoteEquivocator,
    "selective": Selective,
    "invalid signature": InvalidSignature,
    "view spammer": ViewSpammer,
    "flooder": Flooder,
    "replayer": Replayer,
    "run liar": RunLiar,
    "fabricator": Fabricator,
    "censor": Censor,
    "slow primary": SlowPrimary,
    "body withholder": BodyWithholder,
    "new-view liar": NewViewLiar,
    "checkpoint liar": CheckpointLiar,
    "shrinking height": ShrinkingHeight,
    "size bomber": SizeBomber,
    "crooked certificate": CrookedCertificate,
    "other kind": OtherKind,
    "other cluster": OtherCluster,
    "old epoch": OldEpoch,
    "framer": Framer,
    "decisive vote": DecisiveVote,
    "hidden certificate": HiddenCertificate,
    "late equivocator": LateEquivocator,
    "fork forger": ForkForger,
    "complainer": Complainer,
}

TWINS = "twins"

FIRST_BEHAVIOURS = (
    "censor",
    "equivocating primary",
    "fabricator",
    "flooder",
    "invalid signature",
    "lying view change",
    "replayer",
    "run liar",
    "selective",
    "silent",
    "view spammer",
    "vote equivocator",
)
"""Those that the oldest dice of the swarm draw from; it stays as it is, so that they fall as they fell."""
