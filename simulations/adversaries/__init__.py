"""Byzantine behaviours, one a file. `BEHAVIOURS` is what the swarm draws from."""

from collections.abc import Callable
from random import Random

from simulations.adversaries.censor import Censor
from simulations.adversaries.equivocating_primary import EquivocatingPrimary
from simulations.adversaries.fabricator import Fabricator
from simulations.adversaries.flooder import Flooder
from simulations.adversaries.invalid_signature import InvalidSignature
from simulations.adversaries.liar import Behaviour
from simulations.adversaries.lying_view_change import LyingViewChange
from simulations.adversaries.replayer import Replayer
from simulations.adversaries.run_liar import RunLiar
from simulations.adversaries.selective import Selective
from simulations.adversaries.silent import Silent
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
}

TWINS = "twins"
