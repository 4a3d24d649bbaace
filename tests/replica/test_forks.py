"""More than f members lie: the replica stops, keeps the proof, and says who (faults.md X02)."""

import pytest

from bftnode.protocol.blocks import Block, pack_block
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate, check_certificate
from bftnode.protocol.codec import decode, encode
from bftnode.protocol.ed25519 import verify
from bftnode.protocol.evidence import check_accusation
from bftnode.protocol.forensics import Findings, Testimony, investigate
from bftnode.protocol.forks import check_fork_proof
from bftnode.protocol.limits import BODY_BYTES_MAX
from bftnode.protocol.messages import Accusation, ForkProof, Kind, NewView, ViewChange
from bftnode.replica import agreement
from bftnode.replica.effects import Effect, ReadRun
from bftnode.replica.events import Now, RunRead, Tick
from bftnode.replica.forks import FORK_PROOF
from bftnode.replica.view_change import NEW_VIEWS_KEPT
from simulations.judges.observer import testimony_of as kept_on
from tests.replica.conversation import TIMING, Conversation, of_kind, voted


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


def statement(talk: Conversation) -> ForkProof:
    """What it stopped at, as it is on its disk and as it has told everybody last."""
    kept = decode(talk.disk.journal[FORK_PROOF], ForkProof, BODY_BYTES_MAX)
    assert [item.body for item in of_kind(talk.said, Kind.FORK) if item.to is None][-1:] == [kept]
    return kept


def proved(talk: Conversation) -> ForkProof:
    """The same, where a stranger is convinced by it."""
    kept = statement(talk)
    check_fork_proof(kept, talk.members, lambda certificate: check_certificate(certificate, talk.members, verify))
    return kept


@pytest.mark.covers("X02")
def test_a_second_commit_certificate_stops_it_and_names_who_signed_both() -> None:
    """f+1 members at least, each with a proof that others verify, durable and told to everybody."""
    talk, other = forked()
    assert talk.replica.position.halted
    (note,) = [note for note in talk.notes if note.name == "fork_detected"]
    assert (note.fields.keys(), note.fields["height"]) == ({"why", "height"}, 1)
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
    assert kinds <= {Kind.STATUS, Kind.FETCH_RUN, Kind.FETCH_BLOCK, Kind.EVIDENCE, Kind.FORK}


@pytest.mark.covers("X02")
@pytest.mark.parametrize("restarted", [False, True])
def test_a_second_certificate_below_the_head_stops_it_too(restarted: bool) -> None:
    """The other branch's members may be behind. After a restart only the last certificate is in memory: the log on the
    disk is asked then, a little later."""
    talk = Conversation(me=3)
    blocks = talk.chain(3)
    for block in blocks:
        talk.commit(block)
    if restarted:
        talk.restart()
    talk.ask_for_view(0, 1, talk.certificate(COMMIT, talk.block(), senders=(0, 1, 2)))
    talk.tick(TIMING.status_interval_ms - 1)
    assert bool(talk.replica.position.halted) is not restarted
    talk.tick(TIMING.status_interval_ms)
    assert "height 1 is committed twice" in talk.replica.position.halted
    mine = talk.disk.log[1][1]
    assert mine is not None
    both = sorted({vote.sender for vote in mine.votes} & {0, 1, 2})
    assert [item.culprit for item in talk.accused] == both
    assert proved(talk)


@pytest.mark.covers("X02")
def test_the_log_on_the_disk_is_asked_once_for_a_doubtful_height() -> None:
    """When it is time, and not again while the answer is under way."""
    talk = Conversation(me=3)
    for block in talk.chain(3):
        talk.commit(block)
    talk.restart()
    talk.ask_for_view(0, 1, talk.certificate(COMMIT, talk.block(), senders=(0, 1, 2)))
    asked = []
    for passed_ms in (TIMING.status_interval_ms - 1, 1, 100):
        talk.now_ms += passed_ms
        effects = talk.replica.step(Tick(), Now(talk.now_ms, talk.wall_ms))
        asked.append([item for item in effects if isinstance(item, ReadRun)])
    assert asked == [[], [ReadRun(talk.me, 1, 1)], []]


@pytest.mark.covers("X02")
def test_an_answer_of_the_disk_that_says_nothing_of_the_doubtful_height_is_passed_over() -> None:
    """It is of another height, or there is none (the log was cut meanwhile): the doubt is let go."""
    for first, known in ((1, False), (2, True)):
        talk = Conversation(me=3)
        for block in talk.chain(3):
            talk.commit(block)
        talk.restart()
        talk.ask_for_view(0, 1, talk.certificate(COMMIT, talk.block(), senders=(0, 1, 2)))
        packed = tuple(pack_block(block) for block, _ in talk.disk.log[first:])
        answer = RunRead(talk.me, first, packed, talk.disk.log[-1][1] if known else None)
        talk.step(answer)
        talk.step(answer._replace(first=1, certificate=talk.disk.log[-1][1]))
        assert not talk.replica.position.halted


def test_the_log_on_the_disk_proves_a_fork_that_is_far_below_the_head() -> None:
    """The next certificate of the log is some blocks above the doubtful height, and what lies between is on the disk
    only: the headers that were read go into the proof."""
    talk = Conversation(me=3)
    blocks = talk.chain(3)
    for block in blocks[:2]:
        talk.propose(block)
    talk.votes(PREPARE, (0, 1, 2), blocks[1])
    talk.propose(blocks[2])
    talk.votes(COMMIT, (0, 1, 2), blocks[2])
    assert talk.height == 3
    talk.restart()
    talk.ask_for_view(0, 1, talk.certificate(COMMIT, talk.block(), senders=(0, 1, 2)))
    talk.tick(2 * TIMING.status_interval_ms)
    assert "height 1 is committed twice" in talk.replica.position.halted
    assert len(proved(talk).headers) == 2


@pytest.mark.covers("X02")
def test_the_certificate_of_its_head_convicts_whom_its_highest_one_does_not() -> None:
    """A quorum has prepared another block since, and is another one."""
    talk = Conversation(me=3)
    blocks = talk.chain(3)
    for block in blocks[:2]:
        talk.propose(block)
    talk.votes(COMMIT, (0, 1, 2), blocks[1])
    assert (talk.height, sorted(talk.replica.agreement.committed_by)) == (2, [2])
    talk.propose(blocks[2])
    talk.votes(PREPARE, (0, 2), blocks[2])
    highest = talk.replica.position.highest
    assert highest is not None
    assert sorted(vote.sender for vote in highest.votes) == [0, 2, 3]
    talk.ask_for_view(0, 1, talk.certificate(COMMIT, talk.block(), senders=(0, 1, 2)))
    talk.tick(2 * TIMING.status_interval_ms)
    assert sorted({item.culprit for item in talk.accused}) == [0, 1, 2]


def test_another_certificate_of_the_same_block_is_no_fork() -> None:
    """Other signers, or a later view, at the head and below it."""
    talk = Conversation(me=3)
    blocks = talk.chain(2)
    for block in blocks:
        talk.commit(block)
    for sender, block in enumerate(blocks):
        talk.ask_for_view(sender, 2, talk.certificate(COMMIT, block, view=sender, senders=(0, 1, 2)))
    assert not talk.replica.position.halted


def test_certificates_to_compare_with_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest gives way: then a second one of its height is compared with the log on the disk, one at a time, and
    nothing follows of the right one."""
    monkeypatch.setattr(agreement, "CERTIFICATES_KEPT", 2)
    talk = Conversation(me=3)
    for block in talk.chain(3):
        talk.commit(block)
    assert sorted(talk.replica.agreement.committed_by) == [2, 3]
    right, wrong = talk.certificate(COMMIT, talk.disk.log[1][0]), talk.certificate(COMMIT, talk.block())
    for view, certificates in ((2, (right, wrong)), (5, (wrong, right))):
        assert not talk.replica.position.halted
        for sender, certificate in enumerate(certificates):
            assert not reads(talk.effects_of(talk.ask_for_view, sender, view + sender, certificate))
        assert reads(talk.effects_of(talk.tick, 2 * TIMING.status_interval_ms)) == [ReadRun(3, 1, 1)]
    assert proved(talk)


@pytest.mark.covers("A18")
def test_what_is_known_to_be_in_the_log_is_not_looked_up() -> None:
    """Certificates of blocks that this life has committed as ancestors are common: it remembers the blocks."""
    talk = Conversation(me=3)
    first, second = talk.chain(2)
    for block in (first, second):
        talk.propose(block)
    talk.votes(COMMIT, (0, 1, 2), second)
    assert sorted(talk.replica.agreement.committed_by) == [2]
    talk.ask_for_view(0, 1, talk.certificate(COMMIT, first))
    assert not reads(talk.effects_of(talk.tick, 2 * TIMING.status_interval_ms))
    talk.ask_for_view(1, 2, talk.certificate(COMMIT, talk.block()))
    talk.tick(2 * TIMING.status_interval_ms)
    assert len(proved(talk).headers) == 1


def reads(effects: list[Effect]) -> list[ReadRun]:
    return [effect for effect in effects if isinstance(effect, ReadRun)]


@pytest.mark.covers("X02")
def test_an_ancestor_keeps_the_certificate_that_it_has() -> None:
    """Two blocks committed at once, each by COMMITs of its own: both certificates go into the log."""
    talk = Conversation(me=3)
    first, second = talk.chain(2)
    for block in (first, second):  # the COMMITs overtake the proposals
        talk.votes(COMMIT, (0, 1, 2), block)
    for block in (first, second):
        talk.propose(block)
    assert talk.height == 2
    kept = [certificate for _, certificate in talk.disk.log[1:]]
    assert [(item.seq, item.block) for item in kept if item is not None] == [(1, first.hash), (2, second.hash)]


def committing(length: int) -> tuple[Conversation, list[Block]]:
    """It has cast COMMIT for each of these, in view 0, and none of them is committed."""
    talk = Conversation(me=3)
    blocks = talk.chain(length)
    for block in blocks:
        talk.propose(block)
        talk.votes(PREPARE, (0, 1), block)
    assert voted(talk.said, COMMIT) == [(0, block.seq, block.hash) for block in blocks]
    return talk, blocks


@pytest.mark.covers("X02")
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("mine", "theirs"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_what_contradicts_its_own_commit_is_not_followed(mine: int, theirs: int, restarted: bool) -> None:
    """A commit certificate of the view of its COMMIT, at, above or below its height, on another branch."""
    talk, _ = committing(mine)
    other = [talk.block()]
    other += [talk.block(other) for _ in range(1, theirs)]
    if restarted:
        talk.restart()
    talk.ask_for_view(0, 1, talk.certificate(COMMIT, other[-1], senders=(0, 1, 2)))
    for block in reversed(other):
        assert not talk.replica.position.halted
        talk.answer_block(0, block)
    assert "that I voted to commit" in talk.replica.position.halted
    assert talk.height == 0
    assert "fork" in talk.disk.journal


@pytest.mark.covers("X02")
def test_a_certificate_whose_blocks_are_not_here_is_compared_with_what_a_run_brings() -> None:
    """It is told of one block and cannot get it; a run commits another one of its height on the way to a higher one."""
    talk = Conversation(me=3)
    other, blocks = talk.block(), talk.chain(2)
    talk.ask_for_view(0, 1, talk.certificate(COMMIT, other, senders=(0, 1, 2)))
    talk.status(1, committed=20)
    talk.run(1, blocks, talk.certificate(COMMIT, blocks[1], senders=(0, 1, 2)))
    assert "committed twice" in talk.replica.position.halted
    assert talk.height == 0
    proved = "a COMMIT at view 0, height 2, on another branch than its COMMIT at height 1"
    assert {item.culprit: item.proved for item in talk.accused} == dict.fromkeys((0, 1, 2), proved)
    assert blocks[1].hash in talk.disk.stored


@pytest.mark.covers("X02")
@pytest.mark.parametrize(("mine", "theirs"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_what_its_own_commit_leads_to_is_followed(mine: int, theirs: int) -> None:
    """The same certificates on its own branch."""
    talk, blocks = committing(mine)
    blocks += [talk.block(blocks) for _ in range(mine, theirs)]
    talk.ask_for_view(0, 1, talk.certificate(COMMIT, blocks[theirs - 1], senders=(0, 1, 2)))
    for block in blocks[mine:theirs]:
        talk.answer_block(0, block)
    assert (talk.height, talk.replica.position.halted) == (theirs, "")


@pytest.mark.covers("V02")
def test_a_later_view_may_commit_another_block_than_it_voted_to_commit() -> None:
    """Its block was prepared and need not have been committed: that is no fork."""
    talk, _ = committing(2)
    other = talk.block(view=1)
    talk.ask_for_view(0, 2, talk.certificate(COMMIT, other, view=1, senders=(0, 1, 2)))
    talk.answer_block(0, other)
    assert (talk.height, talk.replica.position.halted) == (1, "")


@pytest.mark.covers("O12", "X07", "N01")
def test_a_correct_member_commits_nothing_beside_what_it_has_prepared() -> None:
    """It PREPAREs three blocks of an equivocating primary; the others commit another one at the first height and go on
    there. It follows, and votes on that branch above its last PREPARE only: up to f liars cannot make a correct member
    sign a COMMIT and, at or above it, a PREPARE of another branch (decision 010)."""
    talk = Conversation(me=3)
    left = talk.chain(3)
    for block in left:
        talk.propose(block)
    right = [talk.block(transactions=[talk.transaction(data=b"right")])]
    while len(right) < 4:
        right.append(talk.block(right))
    talk.votes(COMMIT, (0, 1, 2), right[0])
    talk.answer_block(0, right[0])
    assert talk.height == 1
    for block in right[1:]:
        talk.propose(block)
        talk.votes(PREPARE, (0, 1, 2), block)
    assert voted(talk.said, PREPARE) == [(0, block.seq, block.hash) for block in (*left, right[3])]
    assert voted(talk.said, COMMIT) == [(0, 4, right[3].hash)]


def two_branches() -> tuple[Conversation, Conversation, list[Block]]:
    """0 and 1 lie: 2 has committed one block with them; 3 holds a prepare certificate of the same view for the second
    block of another branch, on which the liars voted for that block alone."""
    left, right = Conversation(me=2), Conversation(me=3)
    committed = left.block(transactions=[left.transaction(data=b"left")])
    left.propose(committed)
    for phase in (PREPARE, COMMIT):
        left.votes(phase, (0, 1), committed)
    assert left.height == 1
    branch = [right.block(transactions=[right.transaction(data=b"right")])]
    branch.append(right.block(branch))
    for block in branch:
        right.propose(block)
    right.votes(PREPARE, (0, 1), branch[1])
    assert right.replica.position.highest is not None
    assert right.replica.position.highest.rank == (0, 2, PREPARE)
    return left, right, [committed, *branch]


def blamed(left: Conversation, right: Conversation) -> Findings:
    """What comes of comparing their disks: each proof holds for those who verify evidence."""
    found = investigate(kept_on(left.disk), kept_on(right.disk), left.members, verify)
    for one in found.culprits:
        accusation = Accusation(0, one.first, one.second, one.headers)
        assert check_accusation(accusation, left.members, verify) == (one.member, one.proved)
    return found


@pytest.mark.covers("X03")
@pytest.mark.parametrize("truthful", [False, True])
def test_liars_who_prepare_above_their_commit_on_another_branch_are_named(truthful: bool) -> None:
    """The certificate that 3 holds outranks their COMMITs. Whether they report it as well or report the truth and leave
    that to 3, no VIEW-CHANGE hides anything, and no vote is for two blocks of one height."""
    left, right, (committed, _, above) = two_branches()
    prepared = right.replica.position.highest
    theirs = right.certificate(PREPARE, committed, senders=(0, 1, 2)) if truthful else prepared
    right.deliver(right.new_view(1, {0: theirs, 1: theirs, 3: prepared}))
    for phase in (PREPARE, COMMIT):
        right.votes(phase, (0, 1), above, view=1)
    assert (right.height, right.view) == (2, (1, True))
    assert not left.replica.position.halted
    assert not right.replica.position.halted
    found = blamed(left, right)
    assert (found.fork_height, [one.member for one in found.culprits]) == (1, [0, 1])
    proved = "a PREPARE at view 0, height 2, on another branch than its COMMIT at height 1"
    assert {one.proved for one in found.culprits} == {proved}


@pytest.mark.covers("X02")
def test_liars_who_commit_on_two_branches_at_two_heights_are_named() -> None:
    """In one view; the certificate of the upper block commits the lower one, which has none of its own."""
    left, right, (_, _, above) = two_branches()
    right.votes(COMMIT, (0, 1), above)
    assert (right.height, right.view) == (2, (0, True))
    found = blamed(left, right)
    assert (found.fork_height, [one.member for one in found.culprits]) == (1, [0, 1])
    proved = "a COMMIT at view 0, height 2, on another branch than its COMMIT at height 1"
    assert {one.proved for one in found.culprits} == {proved}


def accused(talk: Conversation) -> dict[int, str]:
    """Whom it accuses of what; each accusation holds for a third party, and the others are told."""
    for item in talk.accused:
        assert check_accusation(item.accusation, talk.members, verify) == (item.culprit, item.proved)
    assert len(of_kind(talk.said, Kind.EVIDENCE)) == len(talk.accused)
    return {item.culprit: item.proved for item in talk.accused}


@pytest.mark.covers("X02", "X03")
def test_who_stops_at_the_other_branch_names_who_prepared_its_own() -> None:
    """3 has cast COMMIT above, with the liars' PREPAREs in hand; the certificate of the other branch is below that."""
    _, right, (committed, *_) = two_branches()
    right.ask_for_view(0, 1, right.certificate(COMMIT, committed, senders=(0, 1, 2)))
    right.answer_block(0, committed)
    assert "that I voted to commit" in right.replica.position.halted
    proved = "a PREPARE at view 0, height 2, on another branch than its COMMIT at height 1"
    assert accused(right) == {0: proved, 1: proved}


@pytest.mark.covers("X03")
def test_who_committed_names_who_opened_the_next_view_on_another_branch() -> None:
    """2 knows the blocks of the base: the certificate in the NEW-VIEW shows who voted for both branches."""
    left, right, (_, below, above) = two_branches()
    prepared = right.replica.position.highest
    left.deliver(left.new_view(1, dict.fromkeys((0, 1, 3), prepared)))
    for block in (above, below):
        left.answer_block(1, block)
    assert (left.height, left.view, left.replica.position.halted) == (1, (1, True), "")
    proved = "a PREPARE at view 0, height 2, on another branch than its COMMIT at height 1"
    assert accused(left) == {0: proved, 1: proved}


@pytest.mark.covers("X03", "V02")
def test_who_committed_names_who_hides_it_in_the_next_view() -> None:
    """The base ranks below what is committed here: members of that quorum said nothing of it."""
    left, _, _ = two_branches()
    left.deliver(left.new_view(1, dict.fromkeys((0, 1, 3))))
    assert left.view == (1, True)
    proved = "a VIEW-CHANGE for view 1 that hides its COMMIT at view 0, height 1"
    assert accused(left) == {0: proved, 1: proved}


@pytest.mark.covers("X02")
@pytest.mark.parametrize("view", [0, 1])
def test_what_contradicts_a_prepare_certificate_is_not_followed_either(view: int) -> None:
    """After a crash it casts no COMMIT for what a quorum prepared. A commit certificate of that view on another branch
    shows that more than f lied, all the same; of a later view it shows nothing."""
    talk = Conversation(me=3)
    talk.step_behind = True
    talk.propose(talk.block())
    talk.restart()
    mine = talk.chain(2)
    for block in mine:
        talk.propose(block)
    talk.votes(PREPARE, (0, 1, 2), mine[1])
    assert not voted(talk.said, COMMIT)
    other = talk.block(view=view)
    talk.ask_for_view(0, 2, talk.certificate(COMMIT, other, view, senders=(0, 1, 2)))
    talk.answer_block(0, other)
    assert ("that a quorum prepared" in talk.replica.position.halted) == (view == 0)
    assert talk.height == view
    proved = "a PREPARE at view 0, height 2, on another branch than its COMMIT at height 1"
    assert accused(talk) == ({} if view else dict.fromkeys((0, 1, 2), proved))


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


# ---- the proof goes round


@pytest.mark.covers("X02")
def test_a_certified_block_that_is_not_valid_stops_it() -> None:
    """A quorum has lied about the log that follows from its blocks."""
    talk = Conversation(me=3)
    block = talk.block((), log_size=99)
    talk.ask_for_view(0, 1, talk.certificate(COMMIT, block, senders=(0, 1, 2)))
    talk.answer_block(0, block)
    assert talk.replica.position.halted.startswith("a certified block is not valid: ")
    assert talk.height == 0


@pytest.mark.covers("X02")
def test_a_later_view_may_commit_another_block_than_a_quorum_has_prepared() -> None:
    """Nobody has lied: too few had prepared it to commit it."""
    talk = Conversation(me=3)
    mine, theirs = talk.block(), talk.block()
    talk.propose(mine)
    talk.votes(PREPARE, (0, 1, 2), mine)
    highest = talk.replica.position.highest
    assert highest is not None
    assert (highest.phase, highest.block) == (PREPARE, mine.hash)
    talk.ask_for_view(1, 2, talk.certificate(COMMIT, theirs, view=1, senders=(0, 1, 2)))
    talk.answer_block(1, theirs)
    assert (talk.height, talk.replica.position.halted) == (1, "")
    assert talk.disk.log[-1][0].hash == theirs.hash


@pytest.mark.covers("X02")
def test_what_it_met_before_a_restart_is_said_again() -> None:
    """The certificate that contradicts its log was durable, and nothing more; or more was, and that is said."""
    talk, other = forked()
    whole = statement(talk)
    for kept, expected in (((None, other), ForkProof(0, (other,), ())), ((whole, other), whole), ((None, None), None)):
        forks = Conversation().replica.forks
        forks.restore(*kept)
        assert forks.statement == expected


@pytest.mark.covers("X02", "N03")
def test_each_member_is_told_less_and_less_often() -> None:
    """At once, then after one, two, four intervals; each by its own count."""
    talk, _ = forked()
    told: dict[int, list[int]] = {0: [], 2: []}
    for number in range(9):
        talk.said.clear()
        for member in told if number else (0,):
            talk.status(member)
        for item in of_kind(talk.said, Kind.FORK):
            assert item.to is not None
            told[item.to].append(number)
        talk.tick(TIMING.status_interval_ms)
    assert told == {0: [0, 1, 3, 7], 2: [1, 2, 4, 8]}
