"""What proves a fork goes round: who hears it stops too, and nobody else (faults.md X02, X04, X07)."""

import pytest
from msgspec.structs import replace

from bftnode.protocol.blocks import Block
from bftnode.protocol.certificates import COMMIT, PREPARE
from bftnode.protocol.codec import decode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.evidence import check_accusation
from bftnode.protocol.limits import BODY_BYTES_MAX
from bftnode.protocol.messages import Checkpoint, ForkProof, Kind
from bftnode.replica.effects import Persist
from bftnode.replica.events import Linked
from bftnode.replica.forks import FALSE_PROOF_INTERVALS, FORK_PROOF, NO_NEWS_INTERVALS
from tests.replica.conversation import TIMING, Conversation, of_kind
from tests.replica.test_forks import committing, proved, statement

LIARS = (0, 3, 4, 7, 8)
"""Of ten: 1 and 5 are shown one branch, 2 and 6 another, and 9 none."""


def commits(talk: Conversation, block: Block, other: int) -> None:
    """With the liars and one more."""
    talk.propose(block)
    for phase in (PREPARE, COMMIT):
        talk.votes(phase, (*LIARS, other), block)


def parted(lower: int, higher: int) -> tuple[Conversation, Conversation, ForkProof]:
    """Member 1 has committed one branch up to height `lower` and another one's `higher` has come to it; member 2, which
    has committed that one; and what member 1 says."""
    talk, there = Conversation(10), Conversation(10, me=2)
    for block in talk.chain(lower):
        commits(talk, block, 5)
    branch: list[Block] = []
    while len(branch) < higher:
        branch.append(talk.block(branch))
    for block in branch:
        commits(there, block, 6)
    talk.ask_for_view(3, 1, talk.certificate(COMMIT, branch[-1], senders=(*LIARS, 2, 6)))
    for block in reversed(branch[lower:]):
        talk.answer_block(3, block)
    assert talk.replica.position.halted
    return talk, there, proved(talk)


@pytest.mark.covers("X02", "X04")
@pytest.mark.parametrize(("lower", "higher"), [(1, 1), (1, 3), (2, 3)])
def test_what_proves_a_fork_is_told_to_everybody(lower: int, higher: int) -> None:
    """Its own certificate and the one that came, with the headers in between where they are of different heights."""
    talk, there, proof = parted(lower, higher)
    assert [item.seq for item in proof.certificates] == [lower, higher]
    assert len(proof.headers) == higher - lower
    why = "committed twice" if lower == higher else f"a block at height {lower + 1} does not follow the log"
    assert why in talk.replica.position.halted
    assert {item.block for item in proof.certificates} == {talk.disk.log[-1][0].hash, there.disk.log[-1][0].hash}


@pytest.mark.covers("X02")
def test_a_run_that_does_not_follow_the_log_is_proved_too() -> None:
    """Its blocks are nowhere in memory."""
    talk = Conversation()
    talk.commit(talk.block())
    branch = [talk.block()]
    for _ in range(4):
        branch.append(talk.block(branch))
    for _ in range(2):
        talk.status(3, committed=5)
        talk.tick(TIMING.status_interval_ms)
    assert of_kind(talk.said, Kind.FETCH_RUN)
    talk.run(3, branch[1:], talk.certificate(COMMIT, branch[-1]))
    assert "does not follow the log" in talk.replica.position.halted
    assert talk.replica.position.highest == talk.replica.agreement.committed_by[1], "nothing is learnt from it"
    assert len(proved(talk).headers) == 4


@pytest.mark.covers("X02", "X04")
@pytest.mark.parametrize("whose", ["mine", "theirs", "neither"])
@pytest.mark.parametrize(("lower", "higher"), [(1, 1), (1, 3)])
def test_who_hears_a_proof_stops_and_passes_it_on(lower: int, higher: int, whose: str) -> None:
    """On either branch, or on none yet: nothing but the proof is asked. It is durable before it is said."""
    talk, there, proof = parted(lower, higher)
    hears = there if whose == "theirs" else Conversation(10, me=5 if whose == "mine" else 9)
    if whose == "mine":
        for block, _ in talk.disk.log[1:]:
            commits(hears, block, 1)
    effects = hears.effects_of(hears.hear, 1, Kind.FORK, proof)
    assert "member 1 proves a fork" in hears.replica.position.halted
    assert [note.name for note in hears.notes if note.name == "fork_detected"] == ["fork_detected"]
    assert proved(hears) == proof
    assert [item.behind for item in effects if isinstance(item, Persist) and item.name == FORK_PROOF] == [False]
    assert {item.culprit for item in hears.accused} == set(LIARS)
    for item in hears.accused:
        assert check_accusation(item.accusation, hears.members, verify) == (item.culprit, item.proved)
    hears.said.clear()
    hears.introduce()
    hears.open_view(3)
    hears.propose(hears.block(view=3), view=3)
    kinds = {item.frame.kind for item in hears.said}
    assert kinds <= {Kind.STATUS, Kind.FETCH_RUN, Kind.FETCH_BLOCK, Kind.FORK, Kind.EVIDENCE}


@pytest.mark.covers("X02", "N03")
@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("restarted", [False, True])
def test_who_is_heard_from_later_is_told_then(restarted: bool, heard: bool) -> None:
    """At its STATUS, then less and less often; from the beginning after a new link, or a new start of this member."""
    talk, hears, proof = parted(1, 2)
    if heard:
        hears.hear(1, Kind.FORK, proof)
        talk = hears
    if restarted:
        talk.restart(introduced=False)
    talk.said.clear()

    def told(statuses: int) -> list[int]:
        """At which of so many STATUSes, one a status interval."""
        at = []
        for number in range(statuses):
            talk.said.clear()
            talk.status(3)
            fork = of_kind(talk.said, Kind.FORK)
            at += [number] * len(fork)
            assert all((item.to, item.body) == (3, proof) for item in fork)
            talk.tick(TIMING.status_interval_ms)
        return at

    assert talk.replica.position.halted
    assert told(16) == [0, 1, 3, 7, 15]
    talk.step(Linked(3))
    assert told(3) == [0, 1]


def false_proofs() -> list[tuple[str, ForkProof]]:
    """Each with the reason that it is refused for."""
    talk, _, proof = parted(1, 2)
    lower, higher = proof.certificates
    prepared = talk.certificate(PREPARE, talk.disk.log[1][0])
    return [
        ("unexpected_message", ForkProof(0, (lower, lower), ())),
        ("unexpected_message", ForkProof(0, (lower, higher), ())),
        ("block.invalid", ForkProof(0, (lower, higher), (talk.disk.log[1][0].header_raw,))),
        ("certificate.invalid", ForkProof(0, (replace(lower, block=bytes(32)), higher), proof.headers)),
        ("certificate.invalid", ForkProof(0, (prepared, higher), proof.headers)),
        ("certificate.invalid", ForkProof(0, (replace(lower, block=bytes(32)),), ())),
        ("certificate.invalid", ForkProof(0, (prepared,), ())),
        ("auth.wrong_epoch", replace(proof, epoch=1)),
    ]


@pytest.mark.covers("X07", "O12", "O13")
def test_a_false_proof_stops_nobody_and_its_sender_is_not_heard_again_soon() -> None:
    """Refused with a reason; so that signatures cost its sender's own standing and not this member's time. Another
    member's proof is heard meanwhile."""
    _, _, proof = parted(1, 2)
    for reason, claim in false_proofs():
        talk = Conversation(10, me=9)
        talk.hear(3, Kind.FORK, claim)
        assert talk.refusals() == [reason]
        assert not talk.replica.position.halted
        assert FORK_PROOF not in talk.disk.journal
        if claim.epoch:
            continue  # refused at the door
        for _ in range(3):
            talk.hear(3, Kind.FORK, claim)
        talk.tick(FALSE_PROOF_INTERVALS * TIMING.status_interval_ms - 1)
        talk.hear(3, Kind.FORK, proof)
        assert talk.refusals() == [reason]
        assert not talk.replica.position.halted
        talk.tick(1)
        talk.hear(3, Kind.FORK, claim)
        assert talk.refusals() == [reason] * 2
        talk.hear(2, Kind.FORK, proof)
        assert "member 2 proves a fork" in talk.replica.position.halted


@pytest.mark.covers("X02")
@pytest.mark.parametrize("restarted", [False, True])
def test_who_cannot_prove_it_shows_what_it_met(restarted: bool) -> None:
    """It voted to commit the other block and has no certificate of it: who has committed that one completes the proof,
    which comes back and is kept in place of the half; who has not follows, as it would have anyhow."""
    talk, (mine,) = committing(1)
    branch = [talk.block()]
    branch.append(talk.block(branch))
    talk.ask_for_view(0, 1, talk.certificate(COMMIT, branch[-1], senders=(0, 1, 2)))
    for block in reversed(branch):
        talk.answer_block(0, block)
    half = statement(talk)
    assert [item.block for item in half.certificates] == [branch[-1].hash]
    assert half.headers == tuple(block.header_raw for block in reversed(branch))

    knows_neither = Conversation(me=0)
    knows_neither.hear(3, Kind.FORK, half)
    for block in reversed(branch):
        knows_neither.answer_block(1, block)
    assert (knows_neither.height, knows_neither.replica.position.halted) == (2, "")

    committed = Conversation()
    committed.propose(mine)
    committed.votes(COMMIT, (0, 2, 3), mine)
    if restarted:
        committed.restart()
    committed.hear(3, Kind.FORK, half)
    assert "a certificate of member 3 contradicts this log" in committed.replica.position.halted
    whole = proved(committed)
    assert [item.block for item in whole.certificates] == [mine.hash, branch[-1].hash]

    talk.hear(1, Kind.FORK, whole)
    assert proved(talk) == whole
    assert "that I voted to commit" in talk.replica.position.halted


@pytest.mark.covers("X02", "O13")
def test_halves_are_not_looked_at_all_the_time() -> None:
    """One that says nothing new costs q signature checks: not again for a while."""
    _, _, proof = parted(1, 2)
    lower, higher = (ForkProof(0, (item,), ()) for item in proof.certificates)
    hears = Conversation(10, me=9)
    hears.hear(1, Kind.FORK, lower)
    hears.tick(NO_NEWS_INTERVALS * TIMING.status_interval_ms - 1)
    hears.hear(1, Kind.FORK, higher)
    assert hears.replica.agreement.decided == lower.certificates[0]
    hears.tick(1)
    hears.hear(1, Kind.FORK, higher)
    assert hears.replica.agreement.decided == higher.certificates[0]


@pytest.mark.covers("X02", "K01")
@pytest.mark.parametrize("restarted", [False, True])
def test_a_fork_that_only_checkpoints_show_is_shown_to_the_others(restarted: bool) -> None:
    """A quorum has executed another block: no certificate says so here, so it shows its own. It stays stopped."""
    talk = Conversation(me=3)
    for block in talk.chain(2):
        talk.commit(block)
    for sender in (0, 1, 2):
        talk.hear(sender, Kind.CHECKPOINT, Checkpoint(0, 2, b"b" * 32, 2, b"r" * 32, b"d" * 32))
    assert "state diverged" in talk.replica.position.halted
    (note,) = [note for note in talk.notes if note.name == "fork_detected"]
    assert (note.fields.keys(), note.fields["height"]) == ({"why", "height"}, 2)
    assert "another block than the one that is committed here" in str(note.fields["why"])
    assert statement(talk) == ForkProof(0, (talk.replica.agreement.committed_by[2],), ())
    talk.replica.forks.parted()
    assert not of_kind(talk.tick(), Kind.FORK), "told once"
    if restarted:
        talk.restart()
        assert talk.replica.position.halted
    there = Conversation()
    there.commit(there.block(transactions=[there.transaction(data=b"other")]))
    there.hear(3, Kind.FORK, decode(talk.disk.journal[FORK_PROOF], ForkProof, BODY_BYTES_MAX))
    for block, _ in reversed(talk.disk.log[1:]):
        there.answer_block(0, block)
    assert there.replica.position.halted
    assert proved(there)


def test_a_state_that_diverges_on_the_same_block_is_no_fork() -> None:
    """Its own disk or program is to blame: nothing is shown to anybody."""
    talk = Conversation(me=3)
    for block in talk.chain(2):
        talk.commit(block)
    head = talk.disk.log[-1][0]
    for sender in (0, 1, 2):
        body = Checkpoint(0, 2, head.hash, 2, head.header.log_root, b"d" * 32)
        talk.hear(sender, Kind.CHECKPOINT, body)
    assert "state diverged" in talk.replica.position.halted
    assert not of_kind(talk.said, Kind.FORK)
