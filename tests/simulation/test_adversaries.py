"""Each behaviour does something, when its moment is, and only then; what is known from elsewhere is of elsewhere."""

from random import Random

import pytest

from bftnode.protocol.certificates import Vote, check_certificate
from bftnode.protocol.envelope import signing_bytes
from bftnode.protocol.errors import Refused
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.messages import Kind, Run, Seen, Status, open_body
from simulations.adversaries import BEHAVIOURS, FIRST_BEHAVIOURS
from simulations.adversaries.liar import Behaviour, Letter, Liar
from simulations.adversaries.other_cluster import OtherCluster
from simulations.adversaries.trigger import ALWAYS, Trigger, Triggered
from simulations.elsewhere import inform
from simulations.scenarios.stage import Stage


def trace(behaviour: Behaviour | None) -> str:
    """A run in which n1 behaves so: in view 0, as the primary of view 1, and when only it can help who is behind."""
    stage = Stage(liars={1: []}, parameters=Parameters(block_transactions_max=1, checkpoint_interval=2, window=4))
    liar = stage.nodes[1]
    assert isinstance(liar, Liar)
    if behaviour is not None:
        if isinstance(behaviour, OtherCluster):
            inform(behaviour, stage.keyring, stage.members)
        liar.become([behaviour])
    _served(stage)
    stage.nodes[0].crash()
    _served(stage)
    _served(stage)
    stage.nodes[0].start()
    stage.network.cut_between([0], [2, 3])
    stage.run(2000)
    stage.network.join()
    stage.run(1000)
    return stage.world.trace()


def _served(stage: Stage) -> None:
    for client in range(4):
        stage.submit(client=client)
        stage.run(300)


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_each_behaviour_does_something(name: str) -> None:
    """A run with it is another run; a behaviour that changes nothing is none."""
    honest = trace(None)
    assert any(trace(BEHAVIOURS[name](Random(number))) != honest for number in range(3))


@pytest.mark.parametrize("name", [name for name in BEHAVIOURS if name != "censor"])
def test_a_behaviour_whose_moment_never_comes_does_nothing(name: str) -> None:
    """It hears everything and changes nothing. (The censor has no moments: it blinds its replica once for all.)"""
    never = Triggered(Random(1), Trigger(views=(10**6,)), BEHAVIOURS[name](Random(1)))
    if isinstance(never._behaviour, OtherCluster):
        inform(never._behaviour, Stage().keyring, Stage().members)
    assert trace(never) == trace(None)


def test_the_oldest_dice_know_only_the_oldest_behaviours() -> None:
    """Old seeds keep their dice; all of them still exist."""
    assert set(FIRST_BEHAVIOURS) <= set(BEHAVIOURS)
    assert sorted(FIRST_BEHAVIOURS) == list(FIRST_BEHAVIOURS)
    assert len(FIRST_BEHAVIOURS) == 12


class Loud(Behaviour):
    """Says everything twice, and posts when it hears something."""

    def hear(self, sender: int, frame: bytes) -> None:
        self.liar.post(self.others(), frame)

    def utter(self, to: int, frame: bytes) -> list[Letter]:
        return [(to, frame), (to, frame)]


@pytest.mark.parametrize(
    ("trigger", "loud_about"),
    [
        (ALWAYS, {Kind.PREPARE, Kind.STATUS}),
        (Trigger(kinds=(Kind.PREPARE,)), {Kind.PREPARE}),
        (Trigger(views=(0,)), {Kind.PREPARE, Kind.STATUS}),
        (Trigger(views=(1,)), set()),
        (Trigger(heights=(1,), kinds=(Kind.STATUS,)), {Kind.STATUS}),
        (Trigger(heights=(2,)), set()),
        (Trigger(probability=0.0), set()),
    ],
)
def test_a_trigger_says_when(trigger: Trigger, loud_about: set[Kind]) -> None:
    """By view, height, kind and chance; what a behaviour would post out of its time is not posted."""
    stage = Stage(liars={1: []})
    liar = stage.nodes[1]
    assert isinstance(liar, Liar)
    behaviour = Triggered(Random(1), trigger, Loud(Random(1)))
    liar.become([behaviour])
    seen = tuple(Seen(0, 0, 0) for _ in range(4))
    bodies = {Kind.PREPARE: Vote(0, 0, 1, bytes(32)), Kind.STATUS: Status(0, 0, True, 0, 0, 0, seen)}
    for kind, body in bodies.items():
        raw = liar.seal(kind, body)
        assert len(behaviour.utter(2, raw)) == (2 if kind in loud_about else 1)
        before = stage.network.frames
        behaviour.hear(0, raw)
        assert stage.network.frames - before == (3 if kind in loud_about else 0)


@pytest.mark.covers("R06", "R08")
@pytest.mark.parametrize("name", ["other cluster", "old epoch"])
def test_what_was_said_elsewhere_is_signed_there(name: str) -> None:
    """The certificates of the second cluster hold there, and not here; views were changed in it."""
    stage = Stage()
    behaviour = BEHAVIOURS[name](Random(1))
    assert isinstance(behaviour, OtherCluster)
    inform(behaviour, stage.keyring, stage.members)
    chain_id = behaviour.chain_id or stage.members.chain_id
    there = Membership(chain_id, behaviour.epoch, stage.keyring.members, stage.members.parameters)
    assert {Kind.VIEW_CHANGE, Kind.NEW_VIEW, Kind.RUN} <= {frame.kind for frame in behaviour._frames}
    for frame in behaviour._frames:
        message = signing_bytes(chain_id, frame.kind, frame.sender, frame.boot, frame.counter, frame.body)
        assert stage.keyring.verify(there.public_keys[frame.sender], message, frame.signature)
        body = open_body(frame)
        if isinstance(body, Run):
            check_certificate(body.certificate, there, stage.keyring.verify)
            with pytest.raises(Refused):
                check_certificate(body.certificate, stage.members, stage.keyring.verify)
