"""More than f members lie: the replica stops, keeps the proof, and says who (faults.md X02)."""

import pytest

from bftnode.protocol.certificates import COMMIT, Certificate
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.evidence import check_accusation
from bftnode.protocol.forensics import Testimony, investigate
from bftnode.protocol.limits import BODY_BYTES_MAX
from bftnode.protocol.messages import Kind, NewView, ViewChange
from bftnode.replica.view_change import NEW_VIEWS_KEPT
from tests.replica.conversation import Conversation, of_kind


def forked(view: int = 0) -> tuple[Conversation, Certificate]:
    """It has committed a block by itself and members 0 and 2; then a report brings 0, 2 and 3's other one."""
    talk = Conversation()
    block = talk.block()
    talk.propose(block)
    talk.votes(COMMIT, (0, 2, 3), block)
    assert talk.height == 1
    other = talk.certificate(COMMIT, talk.block(), view)
    assert other.block != block.hash
    talk.hear(3, Kind.VIEW_CHANGE, ViewChange(0, view + 1, other))
    return talk, other


@pytest.mark.covers("X02")
def test_a_second_commit_certificate_stops_it_and_names_who_signed_both() -> None:
    """f+1 members at least, each with a proof that others verify, durable and told to everybody."""
    talk, other = forked()
    assert talk.replica.position.halted
    assert [note.name for note in talk.notes if note.name == "fork_detected"] == ["fork_detected"]
    culprits = sorted({item.culprit for item in talk.accused})
    assert len(culprits) >= talk.members.some_correct
    assert talk.me not in culprits
    for item in talk.accused:
        assert check_accusation(item.accusation, talk.members, verify) == (item.culprit, item.proved)
        assert encode(item.accusation) in talk.disk.journal.values()
    assert len(of_kind(talk.said, Kind.EVIDENCE)) == len(talk.accused)
    assert talk.disk.journal["fork"] == encode(other)


@pytest.mark.covers("X03")
def test_of_another_view_it_is_kept_for_who_compares() -> None:
    """Two views and no NEW-VIEW between them at hand: nobody is accused on a suspicion."""
    talk, other = forked(view=2)
    assert talk.replica.position.halted
    assert not talk.accused
    assert talk.disk.journal["fork"] == encode(other)
    kept = decode(talk.disk.journal["fork"], Certificate, BODY_BYTES_MAX)
    mine = talk.disk.log[-1][1]
    assert mine is not None
    both = Testimony(headers=(), certificates=(mine, kept), new_views=())
    found = investigate(both, Testimony(headers=(), certificates=(), new_views=()), talk.members, verify)
    assert (found.fork_height, found.culprits) == (1, ())


@pytest.mark.covers("X02")
def test_it_stays_stopped_when_it_is_started_again() -> None:
    """What proves the fork is on its disk: it says so again, and nothing that would be a vote."""
    talk, _ = forked()
    talk.notes.clear()
    talk.said.clear()
    talk.restart()
    assert talk.replica.position.halted
    assert [note.name for note in talk.notes if note.name == "fork_detected"] == ["fork_detected"]
    talk.open_view(2)
    talk.propose(talk.block([talk.disk.log[-1][0]], view=2), view=2)
    kinds = {item.frame.kind for item in talk.said}
    assert kinds <= {Kind.STATUS, Kind.FETCH_RUN, Kind.FETCH_BLOCK}


@pytest.mark.covers("V11", "O13")
def test_a_second_new_view_of_junk_is_not_passed_on() -> None:
    """A correct member never says what the others refuse: evidence that is too long for an accusation stays untold."""
    for size, accused in ((1_000, 1), (16_000, 0)):
        talk = Conversation()
        talk.open_view(2)
        talk.deliver(talk.seal(2, Kind.NEW_VIEW, NewView(0, 2, (bytes(size),) * 64)))  # what it says can be opened
        assert len(talk.accused) == accused
        assert len(of_kind(talk.said, Kind.EVIDENCE)) == accused


@pytest.mark.covers("X03", "V02")
def test_every_new_view_that_opened_a_view_is_kept() -> None:
    """As many as there are records; then the oldest gives way. They survive a restart and are one write with it."""
    talk = Conversation()
    frames = {}
    for view in (2, 3, 4, NEW_VIEWS_KEPT + 2):
        talk.open_view(view)
        assert talk.view == (view, True)
        frames[view] = talk.disk.journal["new_view"]
    talk.restart()
    kept = {name: raw for name, raw in talk.disk.journal.items() if name.startswith("new_view.")}
    assert kept == {"new_view.2": frames[NEW_VIEWS_KEPT + 2], "new_view.3": frames[3], "new_view.4": frames[4]}
