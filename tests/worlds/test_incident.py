"""What the comparison of several members' recordings finds, and what it does not take for a finding."""

import pytest

from bftnode.protocol.blocks import genesis_block
from bftnode.protocol.certificates import Vote
from bftnode.protocol.codec import encode
from bftnode.protocol.ed25519 import public_key_of, signer
from bftnode.protocol.envelope import encode_frame, seal
from bftnode.protocol.membership import Membership, Parameters
from bftnode.protocol.messages import Kind
from bftnode.replica.effects import AppendBlock, Broadcast, Effect
from bftnode.replica.events import Event, Received, Tick
from bftnode.replica.recording import Step
from simulations.incident.checks import Checks
from simulations.incident.lives import Replayed
from simulations.simulation import CHAIN

SEEDS = sorted((bytes((i,)) * 32 for i in range(1, 5)), key=public_key_of)
MEMBERS = Membership(CHAIN, 0, tuple(map(public_key_of, SEEDS)), Parameters())


def _vote(member: int, block: bytes, *, seed: int | None = None) -> bytes:
    sign = signer(SEEDS[member if seed is None else seed])
    return encode_frame(seal(CHAIN, Kind.PREPARE, member, 1, 1 + block[0], encode(Vote(0, 0, 7, block)), sign))


def _done(event: Event, *effects: Effect) -> Replayed:
    return Replayed(Step(event, b""), list(effects), "")


@pytest.mark.covers("N11", "O02")
def test_two_votes_for_one_place_are_found_wherever_they_were_heard() -> None:
    """One in what a member said itself, the other in what another one heard of it."""
    checks = Checks(MEMBERS)
    checks.look(1, _done(Tick(), Broadcast(_vote(1, b"\1" * 32))))
    checks.look(2, _done(Received(1, _vote(1, b"\1" * 32))))
    assert checks.found == []
    checks.look(3, _done(Received(1, _vote(1, b"\2" * 32))))
    assert checks.found == [
        "said-once: n1 says two different PREPAREs at view 0, height 7: n1 said one, n3 heard the other"
    ]


@pytest.mark.covers("O12")
@pytest.mark.parametrize("forged_first", [True, False])
def test_nobody_has_said_what_he_did_not_sign(forged_first: bool) -> None:
    """A frame in a member's name that another one signed contradicts nothing."""
    checks = Checks(MEMBERS)
    frames = [_vote(1, b"\1" * 32, seed=2), _vote(1, b"\2" * 32)]
    for frame in frames if forged_first else reversed(frames):
        checks.look(3, _done(Received(1, frame)))
    assert checks.found == []
    assert checks.statements == 2


def test_two_blocks_at_one_height_are_found() -> None:
    """Whoever appended them."""
    one, other = genesis_block(CHAIN), genesis_block(bytes(32))
    checks = Checks(MEMBERS)
    checks.look(0, _done(Tick(), AppendBlock(one, (), None)))
    checks.look(1, _done(Tick(), AppendBlock(one, (), None)))
    assert checks.found == []
    checks.look(2, _done(Tick(), AppendBlock(other, (), None)))
    assert checks.found == ["agreement: n2 appends another block at height 0 than n0"]
