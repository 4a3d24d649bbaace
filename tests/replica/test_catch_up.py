"""Fetching the log and single blocks: from several, believing none."""

import pytest

from bftnode.protocol import limits
from bftnode.protocol.blocks import Block, pack_block
from bftnode.protocol.certificates import COMMIT, PREPARE, Certificate
from bftnode.protocol.errors import Reason
from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import BlockAnswer, FetchBlock, FetchRun, Kind, Run
from bftnode.replica.effects import Effect, ReadRun
from bftnode.replica.events import BlockRead, RunRead
from bftnode.replica.sync import RUNS_SERVED_MAX
from tests.replica.conversation import Conversation, Said, of_kind, voted


def lagging(top: int = 5) -> tuple[Conversation, list[Block]]:
    """Heights 1 to `top` (those blocks) are committed elsewhere; height 1 here. A run from 2 on was asked of n0."""
    talk = Conversation()
    blocks = talk.chain(top)
    talk.commit(blocks[0])
    for member in (0, 2):
        talk.status(member, committed=top)
    talk.tick(600)
    said = [item for member in (0, 2) for item in talk.status(member, committed=top)]
    assert [(item.to, item.body) for item in of_kind(said, Kind.FETCH_RUN)] == [(0, FetchRun(0, 2, 257))]
    return talk, blocks


def asked_whom(said: list[Said]) -> list[int | None]:
    return [item.to for item in of_kind(said, Kind.FETCH_RUN)]


@pytest.mark.covers("K07", "P40", "P23")
def test_a_run_is_verified_backwards_from_one_certificate() -> None:
    """Then it is executed, each block once, also those that came by votes in between."""
    talk, blocks = lagging()
    talk.propose(blocks[1])
    talk.votes(COMMIT, (0, 2, 3), blocks[1])
    assert talk.height == 2
    talk.run(0, blocks[1:], talk.certificate(COMMIT, blocks[4]))
    assert talk.height == 5
    assert [block.hash for block, _ in talk.disk.log[1:]] == [block.hash for block in blocks]


WRONG_RUNS = {
    "gap": Reason.BAD_CERTIFICATE,
    "later": Reason.UNREQUESTED,
    "cut": Reason.BAD_CERTIFICATE,
    "bodies": Reason.BAD_BLOCK,
    "prepare": Reason.BAD_CERTIFICATE,
    "forged": Reason.BAD_CERTIFICATE,
    "other height": Reason.BAD_CERTIFICATE,
    "other chain": Reason.BAD_BLOCK,
    "other middle": Reason.BAD_BLOCK,
}


@pytest.mark.covers("K05", "K07", "P38", "P39", "K08")
def test_a_run_that_is_wrong_is_refused_and_another_member_is_asked() -> None:
    """With a gap, a gap below it, cut off, with other bodies, with a prepare certificate, with a forged one, or of
    other blocks than the certified ones, which follow the log as well: nobody is moved, nobody halts (seed 80)."""
    for wrong, reason in WRONG_RUNS.items():
        talk, chain = lagging()
        blocks = chain[1:]
        certificate = talk.certificate(COMMIT, blocks[3])
        first = 2
        match wrong:
            case "gap":
                blocks = [blocks[0], *blocks[2:]]
            case "later":
                blocks, first = blocks[1:], 3
            case "cut":
                blocks = blocks[:-1]
            case "bodies":
                blocks = [blocks[0], blocks[1], blocks[1], blocks[3]]
            case "other chain":
                blocks = chain[:1]
                for _ in range(4):
                    blocks.append(talk.block(blocks))
                blocks = blocks[1:]
            case "other middle":
                blocks = [talk.block(chain[:1]), *blocks[1:]]
            case "prepare":
                certificate = talk.certificate(PREPARE, blocks[3])
            case "forged":
                certificate = Certificate(COMMIT, 0, 0, 5, blocks[3].hash, certificate.votes[:2])
            case _:
                first = 1
        said = talk.run(0, blocks, certificate, first)
        assert talk.height == 1, wrong
        assert talk.refusals() == [reason], wrong
        assert not talk.replica.position.halted, wrong
        assert asked_whom(said) == [2], wrong
        talk.run(2, chain[1:], talk.certificate(COMMIT, chain[4]))
        assert talk.height == 5


@pytest.mark.covers("K04", "K05", "V08", "P25")
def test_an_old_run_with_a_false_certificate_moves_nobody() -> None:
    """What lies below the head is not looked at: so its certificate must mean nothing, its view least of all."""
    talk, blocks = lagging()
    honest = talk.certificate(COMMIT, blocks[0])
    false = Certificate(COMMIT, 0, 10**6, 1, honest.block, honest.votes)
    said = talk.run(0, blocks[:1], false)
    assert talk.view == (0, True)
    assert asked_whom(said) == [2]


@pytest.mark.covers("K05", "K06", "P39")
def test_a_liar_is_not_asked_again_for_a_while() -> None:
    """Its promises are the greatest; it delivers old runs; the next STATUS finds another source."""
    talk, blocks = lagging()
    said = talk.run(0, blocks[:1], talk.certificate(COMMIT, blocks[0]), first=1)
    assert asked_whom(said) == [2]
    talk.run(2, blocks[1:3], talk.certificate(COMMIT, blocks[2]))
    assert talk.height == 3
    asked = []
    for _ in range(3):
        asked += asked_whom(talk.tick(500))
        asked += asked_whom([*talk.status(0, committed=2**62), *talk.status(2, committed=5)])
    assert 2 in asked
    assert 0 not in asked


@pytest.mark.covers("K06", "P38")
def test_a_source_that_says_nothing_is_left() -> None:
    """After the timeout the next one is asked; what the first says later is not welcome twice."""
    talk, blocks = lagging()
    assert asked_whom(talk.tick(2000)) == [2]
    talk.run(2, blocks[1:], talk.certificate(COMMIT, blocks[4]))
    assert talk.height == 5
    talk.run(3, blocks[1:], talk.certificate(COMMIT, blocks[4]))
    assert talk.refusals()[-1] == Reason.UNREQUESTED


@pytest.mark.covers("P39", "K05", "N13")
def test_promises_alone_move_nothing() -> None:
    """A STATUS of absurd heights costs a request, and no view, no vote, no memory."""
    talk = Conversation()
    for _ in range(3):
        talk.status(3, view=2**62, committed=2**62, tip=2**62)
        talk.tick(600)
    assert talk.view == (0, True)
    assert len(talk.replica.sync.peers) == 3


@pytest.mark.covers("A18", "K06")
def test_runs_are_served_one_at_a_time() -> None:
    """To members that said where they are, from blocks that exist, ending at a certified one."""
    talk = Conversation()
    blocks = talk.chain(3)
    for block in blocks:
        talk.commit(block)
    (said,) = talk.hear(3, Kind.FETCH_RUN, FetchRun(0, 2, 257))
    assert isinstance(said.body, Run)
    assert (said.to, said.body.first, said.body.certificate.seq) == (3, 2, 3)
    for absurd in (0, 4, 2**62):
        assert not talk.hear(3, Kind.FETCH_RUN, FetchRun(0, absurd, 2**62))


@pytest.mark.covers("N18", "P36", "K12")
def test_a_commit_of_a_block_that_is_missing() -> None:
    """It is asked for by its hash, of those that voted; its ancestors too; then all are committed."""
    talk = Conversation()
    blocks = talk.chain(2)
    said = talk.votes(COMMIT, (0, 2, 3), blocks[1])
    assert [(item.to, item.body) for item in of_kind(said, Kind.FETCH_BLOCK)] == [(0, FetchBlock(0, blocks[1].hash))]
    (again,) = of_kind(talk.tick(500), Kind.FETCH_BLOCK)
    assert again.to == 2, "then of the next"
    said = talk.answer_block(2, blocks[1])
    assert [item.body for item in of_kind(said, Kind.FETCH_BLOCK)] == [FetchBlock(0, blocks[0].hash)]
    talk.answer_block(0, blocks[0])
    assert talk.height == 2


@pytest.mark.covers("N18", "K03")
def test_a_block_that_nobody_asked_for_is_dropped() -> None:
    """And one with another body than its header names is refused."""
    talk = Conversation()
    block, other = talk.block(), talk.block()
    talk.answer_block(3, block)
    assert not len(talk.replica.chain)
    talk.votes(COMMIT, (0, 2, 3), block)
    talk.hear(3, Kind.BLOCK, BlockAnswer(0, block.header_raw), other.payload)
    assert talk.refusals()[-1] == Reason.BAD_BLOCK
    talk.answer_block(3, block)
    assert talk.height == 1


@pytest.mark.covers("P24", "V14")
def test_a_base_that_is_missing_is_fetched_and_then_stood_on() -> None:
    """The view is active, nothing is voted for until the base and its ancestors are here; proposals wait."""
    talk = Conversation(me=3)
    blocks = talk.chain(2)
    said = talk.open_view(1, talk.certificate(PREPARE, blocks[1]))
    assert of_kind(said, Kind.FETCH_BLOCK)
    above = talk.block(blocks, view=1)
    assert not voted(talk.propose(above, view=1), PREPARE)
    talk.answer_block(0, blocks[1])
    said = talk.answer_block(0, blocks[0])
    assert voted(said, PREPARE) == [(1, 2, blocks[1].hash), (1, 3, above.hash)]


@pytest.mark.covers("P24", "V14")
def test_a_new_view_in_the_middle_of_a_catch_up() -> None:
    """The end of the run finds the view; the two do not wait for each other."""
    talk, blocks = lagging()
    talk.deliver(talk.new_view(2, {0: talk.certificate(PREPARE, blocks[4]), 2: None, 3: None}))
    assert talk.view == (2, True)
    talk.run(0, blocks[1:4], talk.certificate(COMMIT, blocks[3]))
    assert talk.height == 4
    said = talk.answer_block(0, blocks[4])
    assert voted(said, PREPARE) == [(2, 5, blocks[4].hash)]


RUN = 10
"""Blocks in a run, in the tests of several at a time."""


def far_behind(
    monkeypatch: pytest.MonkeyPatch, height: int = 4 * RUN, n: int = 4
) -> tuple[Conversation, list[Block], list[Said]]:
    """A replica that has nothing of so many blocks, but for the first run, which n0 gave; and what it said then."""
    monkeypatch.setattr(limits, "RUN_BLOCKS_MAX", RUN)
    talk = Conversation(n)
    blocks = talk.chain(height)
    said = [item for member in talk.others() for item in talk.status(member, committed=height)]
    assert asked_for(said) == [(0, 1, RUN)], "how many blocks fill a run is not known yet"
    return talk, blocks, give(talk, 0, blocks, 1, RUN)


def asked_for(said: list[Said]) -> list[tuple[int | None, int, int]]:
    """(whom, first, last)."""
    return [(item.to, item.body.first, item.body.last) for item in said if isinstance(item.body, FetchRun)]


def give(talk: Conversation, sender: int, blocks: list[Block], first: int, last: int) -> list[Said]:
    """An honest run."""
    return talk.run(sender, blocks[first - 1 : last], talk.certificate(COMMIT, blocks[last - 1]))


@pytest.mark.covers("K09", "P38")
def test_several_are_asked_at_a_time_each_for_other_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever order they answer, blocks are committed in order of height."""
    talk, blocks, said = far_behind(monkeypatch)
    assert asked_for(said) == [(2, 11, 20), (3, 21, 30), (0, 31, 40)]
    assert not give(talk, 0, blocks, 31, 40)
    assert not give(talk, 3, blocks, 21, 30)
    assert talk.height == 10
    give(talk, 2, blocks, 11, 20)
    assert talk.height == 40
    assert [block.hash for block, _ in talk.disk.log[1:]] == [block.hash for block in blocks]


@pytest.mark.parametrize("end", [14, 19])
def test_a_run_that_ends_early_leaves_a_gap_that_is_asked_for(monkeypatch: pytest.MonkeyPatch, end: int) -> None:
    """Blocks may be larger than those of the last run. What has come above the gap waits, be it of one block."""
    talk, blocks, _ = far_behind(monkeypatch)
    give(talk, 3, blocks, 21, 30)
    said = give(talk, 2, blocks, 11, end)
    assert asked_for(said) == [(2, end + 1, 20)]
    assert talk.height == end
    give(talk, 2, blocks, end + 1, 20)
    assert talk.height == 30
    assert not talk.refusals()


def test_a_run_that_is_longer_than_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be no certificate in between. What comes from elsewhere for the second time is nobody's fault."""
    talk, blocks, _ = far_behind(monkeypatch)
    give(talk, 2, blocks, 11, 30)
    assert talk.height == 30
    give(talk, 3, blocks, 21, 30)
    assert not talk.refusals()
    assert asked_for(talk.status(3, committed=60)) == [(3, 41, 50)], "it is not shunned"


def test_of_a_run_that_waits_only_what_is_still_missing_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer one from below may reach into it: no block is committed twice, and nothing looks like a fork."""
    talk, blocks, _ = far_behind(monkeypatch)
    give(talk, 3, blocks, 21, 30)
    give(talk, 2, blocks, 11, 25)
    assert talk.height == 30
    assert not talk.replica.position.halted
    assert [block.hash for block, _ in talk.disk.log[1:]] == [block.hash for block in blocks[:30]]


@pytest.mark.covers("K03", "K07", "P38", "P39")
def test_a_liar_among_several_costs_its_own_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is blamed and not asked again for a while; what others give stays, and one of them is asked for the rest."""
    talk, blocks, _ = far_behind(monkeypatch)
    give(talk, 3, blocks, 21, 30)
    false = [*blocks[10:13], blocks[14], *blocks[14:20]]
    assert asked_for(talk.run(2, false, talk.certificate(COMMIT, blocks[19]))) == [(3, 11, 20)]
    assert talk.refusals() == [Reason.BAD_BLOCK]
    assert talk.height == 10
    give(talk, 0, blocks, 31, 40)
    give(talk, 3, blocks, 11, 20)
    assert talk.height == 40


@pytest.mark.covers("K06", "P38")
def test_one_that_is_late_among_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one is asked for its blocks; whoever is first is welcome, the second not blamed, a third time refused."""
    talk, blocks, _ = far_behind(monkeypatch)
    give(talk, 3, blocks, 21, 30)
    give(talk, 0, blocks, 31, 40)
    assert asked_for(talk.tick(2000)) == [(3, 11, 20)]
    give(talk, 2, blocks, 11, 20)
    assert talk.height == 40
    give(talk, 3, blocks, 11, 20)
    assert not talk.refusals()
    give(talk, 2, blocks, 11, 20)
    assert talk.refusals() == [Reason.UNREQUESTED]


@pytest.mark.covers("A18", "K08", "P39")
def test_what_comes_early_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the lowest run is missing, no more are asked for than it takes; and none that was not asked for is kept."""
    talk, blocks, _ = far_behind(monkeypatch, height=90)
    assert not give(talk, 3, blocks, 21, 30)
    assert not give(talk, 0, blocks, 31, 40)
    for member in (0, 3):
        assert not asked_for(talk.status(member, committed=90))
    give(talk, 3, blocks, 51, 60)
    assert talk.refusals() == [Reason.UNREQUESTED]
    assert len(talk.replica.sync._came) == 2


@pytest.mark.covers("A18", "K08")
def test_there_is_no_room_for_a_run_that_is_late_where_others_have_taken_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three were late, three others were asked: what these have brought, and owe, fills the room. It makes nobody
    wait: the lowest run is taken whoever brings it."""
    talk, blocks, _ = far_behind(monkeypatch, n=7)
    assert asked_for(talk.tick(2000)) == [(5, 11, 20), (6, 21, 30), (0, 31, 40)]
    assert not give(talk, 6, blocks, 21, 30)
    assert not give(talk, 0, blocks, 31, 40)
    give(talk, 3, blocks, 21, 30)
    give(talk, 4, blocks, 31, 40)
    assert talk.refusals() == [Reason.UNREQUESTED] * 2
    give(talk, 2, blocks, 11, 20)
    assert talk.height == 40


def test_after_a_long_run_there_is_likely_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than its STATUS said may have been decided since: its source is asked once more, and owes nothing."""
    talk, blocks, _ = far_behind(monkeypatch, height=60)
    give(talk, 0, blocks, 31, 40)
    give(talk, 3, blocks, 21, 30)
    said = give(talk, 2, blocks, 11, 20)
    assert talk.height == 40
    assert [span for _, *span in asked_for(said)] == [[41, 50], [51, 60]]
    for member, first, last in asked_for(said):
        assert member is not None
        said = give(talk, member, blocks, first, last)
    assert talk.height == 60
    assert [first for _, first, _ in asked_for(said)] == [61]
    talk.tick(2000)
    assert not [note for note in talk.notes if note.name == "fetch_timeout"]


def test_what_nobody_owes_keeps_nobody_from_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its source had nothing then, and says nothing; when a STATUS says that there is more, it is asked for at once."""
    talk, blocks, said = far_behind(monkeypatch, height=RUN)
    assert asked_for(said) == [(0, 11, 20)]
    blocks += [talk.block(blocks)]
    for _ in range(RUN - 1):
        blocks.append(talk.block(blocks))
    assert asked_for(talk.status(2, committed=20)) == [(2, 11, 20)]
    give(talk, 0, blocks, 11, 20)
    assert talk.height == 20
    give(talk, 2, blocks, 11, 20)
    assert not talk.refusals()


@pytest.mark.covers("A18")
def test_who_asks_without_end_is_served_so_many_runs_in_a_while() -> None:
    """The next one waits for its next STATUS; then it is given."""
    talk = Conversation()
    for block in talk.chain(3):
        talk.commit(block)
    asked = [talk.hear(3, Kind.FETCH_RUN, FetchRun(0, 1, 3)) for _ in range(RUNS_SERVED_MAX + 5)]
    assert [len(said) for said in asked] == [1] * RUNS_SERVED_MAX + [0] * 5
    talk.tick(500)
    assert [item.to for item in of_kind(talk.status(3, committed=0), Kind.RUN)] == [3]


@pytest.mark.covers("W20", "K06")
def test_over_a_slow_line_what_is_late_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are late, all are asked again; what the first requests bring is taken, in whatever order, while there is room
    for it."""
    talk, blocks, _ = far_behind(monkeypatch)
    talk.tick(2000)
    give(talk, 0, blocks, 31, 40)
    give(talk, 3, blocks, 21, 30)
    assert talk.height == 10
    assert not talk.refusals()
    give(talk, 2, blocks, 11, 20)
    assert talk.height == 40


@pytest.mark.covers("A18", "X02")
def test_who_has_stopped_for_good_fetches_nothing() -> None:
    """What came would be kept and committed by nobody: a liar could fill its memory, a run with each STATUS."""
    talk, blocks = lagging()
    talk.replica.position.halted = "it met a fork"
    certificate = talk.certificate(COMMIT, blocks[4])
    for _ in range(20):
        talk.tick(600)
        said = [item for member in (0, 2) for item in talk.status(member, committed=5)]
        assert not of_kind(said, Kind.FETCH_RUN)
        for member in (0, 2):
            talk.run(member, blocks[1:], certificate)
    assert talk.refusals().count(Reason.UNREQUESTED) >= 37  # but for what was asked for before


def test_a_block_that_was_looked_up_is_sent_and_one_that_is_not_there_is_not() -> None:
    """What the disk says is passed on to whoever asked."""
    talk = Conversation()
    block = talk.block()
    assert not talk.step(BlockRead(2, None))
    (said,) = talk.step(BlockRead(2, pack_block(block)))
    assert (said.to, said.body, said.frame.payload) == (2, BlockAnswer(0, block.header_raw), block.payload)


@pytest.mark.covers("K05", "K06")
@pytest.mark.parametrize("old", [False, True])
def test_who_is_one_block_ahead_is_asked_after_a_liar(old: bool) -> None:
    """A single block is missing: what the liar gave is wrong, or nothing new."""
    talk, blocks = lagging(2)
    if old:
        said = talk.run(0, blocks[:1], talk.certificate(COMMIT, blocks[0]))
    else:
        said = talk.run(0, blocks[1:], talk.certificate(PREPARE, blocks[1]))
    assert asked_for(said) == [(2, 2, 257)]


def test_what_came_from_elsewhere_meanwhile_is_no_fault_of_its_source() -> None:
    """A run of one block, which votes have committed."""
    talk, blocks = lagging()
    talk.propose(blocks[1])
    talk.votes(COMMIT, (0, 2, 3), blocks[1])
    talk.run(0, blocks[1:2], talk.certificate(COMMIT, blocks[1]))
    assert not talk.refusals()
    assert not talk.replica.sync._shunned_until_ms


@pytest.mark.parametrize("beyond", [0, 1])
def test_what_votes_will_bring_is_not_fetched(beyond: int) -> None:
    """After a run: only who is further ahead than the window is asked for more."""
    talk, blocks = lagging(3)
    window = talk.members.parameters.window
    talk.status(2, committed=3 + window + beyond)
    said = talk.run(0, blocks[1:], talk.certificate(COMMIT, blocks[2]))
    assert talk.height == 3
    assert [member for member, first, _ in asked_for(said) if first == 4] == [2] * beyond


@pytest.mark.parametrize("beyond", [0, 1])
def test_of_a_run_that_is_longer_than_the_window_there_may_be_more(beyond: int) -> None:
    """Its source is asked; a shorter one is what its STATUS said."""
    window = Parameters().window
    talk, blocks = lagging(1 + window)
    for _ in range(beyond):
        blocks.append(talk.block(blocks))
    said = talk.run(0, blocks[1:], talk.certificate(COMMIT, blocks[-1]))
    assert talk.height == len(blocks)
    assert [member for member, _, _ in asked_for(said)] == [0] * beyond


@pytest.mark.parametrize(("halves", "expected"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_as_many_blocks_are_asked_for_as_fill_a_run(
    halves: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as the last one says; one at least."""
    probe = Conversation().chain(1)[0]
    monkeypatch.setattr(limits, "RUN_BYTES_TARGET", halves * len(probe.payload) // 2)
    _, _, said = far_behind(monkeypatch)
    assert [last - first + 1 for _, first, last in asked_for(said)] == [expected] * 3


@pytest.mark.covers("A18", "K06")
def test_a_run_is_read_for_a_member_only_when_its_last_one_was() -> None:
    """And for nobody who has not said where it is."""
    talk = Conversation()
    for block in talk.chain(3):
        talk.commit(block)

    def read() -> list[Effect]:
        effects = talk.wanted(talk.seal(3, Kind.FETCH_RUN, FetchRun(0, 1, 3)))
        return [item for item in effects if isinstance(item, ReadRun)]

    assert read() == [ReadRun(3, 1, 3)]
    assert read() == []
    talk.step(RunRead(3, 1, (), None))
    assert read() == [ReadRun(3, 1, 3)]
    talk.restart(introduced=False)
    assert not talk.hear(3, Kind.FETCH_RUN, FetchRun(0, 1, 3))


def test_others_are_asked_for_the_rest_however_little_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be asked for next: a run and a block, with a run on its way."""
    _, _, said = far_behind(monkeypatch, height=2 * RUN + 1)
    assert asked_for(said) == [(2, 11, 20), (3, 21, 30)]


def test_a_log_that_is_here_is_not_wanted() -> None:
    """Somebody is known to have committed what is committed here."""
    talk = Conversation()
    talk.commit(talk.block())
    talk.status(3, committed=5)
    assert not talk.effects_of(talk.replica.sync.want_log, 1)
    assert not talk.replica.sync._fetches
