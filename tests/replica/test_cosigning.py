"""Cosigning: which checkpoints a member signs, what must be durable before, and when a quorum has signed one."""

import pytest

from bftnode.protocol.blocks import Block
from bftnode.protocol.codec import decode
from bftnode.protocol.cosigning import Cosigned
from bftnode.protocol.membership import Parameters
from bftnode.protocol.messages import Cosignature, Kind
from bftnode.protocol.tlog.policy import MemberKeys, check_checkpoint, cluster_policy
from bftnode.replica.cosigning import EARLY_MAX, IDLE_MS, OPEN_MAX, RECORD, CosignedRecord
from bftnode.replica.effects import Broadcast, Effect, KeepCheckpoint, Persist
from tests.replica.conversation import Conversation, Said, of_kind

SECOND = 1000


def talking(interval: int = 1000) -> Conversation:
    return Conversation(cosigns=True, parameters=Parameters(checkpoint_interval=interval))


def cosigned(said: list[Said]) -> list[int]:
    """The heights of the checkpoints that were cosigned for everybody."""
    return [item.body.seq for item in said if isinstance(item.body, Cosignature) and item.to is None]


def committed(talk: Conversation, *times_ms: int) -> list[Block]:
    """Blocks of these times, one after the other, committed and executed."""
    blocks: list[Block] = []
    for time_ms in times_ms:
        blocks.append(talk.block(blocks, time_ms=time_ms))
        talk.commit(blocks[-1])
    return blocks


def word_of(
    talk: Conversation, member: int, block: Block, *, wanting: bool = False, root: bytes | None = None
) -> Cosignature:
    header = block.header
    place = (header.log_size, root or header.log_root)
    values = talk.cosigners[member].cosign(*place, header.time_ms // SECOND)
    return Cosignature(0, block.seq, *place, values, wanting)


def test_the_first_block_of_each_second_is_signed() -> None:
    """By agreed time, so that everybody signs the same ones; others are covered by the next."""
    talk = talking()
    at = talk.wall_ms
    committed(talk, at, at + 1, at + 999, at + 1000, at + 1001, at + 2500)
    assert cosigned(talk.said) == [1, 4, 6]


def test_every_kth_block_is_signed() -> None:
    """However fast they come."""
    talk = talking(interval=2)
    committed(talk, *[talk.wall_ms] * 5)
    assert cosigned(talk.said) == [1, 2, 4]


def test_the_last_block_is_signed_when_nothing_follows() -> None:
    """By then it is everybody's head. While blocks come, it waits for the next second."""
    talk = talking()
    blocks = committed(talk, talk.wall_ms, talk.wall_ms + 1)
    assert 2 not in cosigned(talk.tick(IDLE_MS - 1))
    blocks.append(talk.block(blocks, time_ms=blocks[-1].header.time_ms))
    talk.commit(blocks[-1])
    assert not {2, 3} & set(cosigned(talk.tick(IDLE_MS - 1)))
    assert 3 in cosigned(talk.tick(1))
    assert set(cosigned(talk.tick(10 * IDLE_MS))) == {3}, "and repeated, for nobody else has signed it yet"


def test_the_record_is_durable_before_the_signature_leaves() -> None:
    """One write, with the log up to there: the turn that says it is a promise (effects.py)."""
    talk = talking()
    block = talk.block()
    effects = talk.effects_of(talk.commit, block)
    said = [place for place, effect in enumerate(effects) if is_word(effect)]
    kept = [place for place, effect in enumerate(effects) if isinstance(effect, Persist) and effect.name == RECORD]
    assert len(said) == len(kept) == 1
    record = effects[kept[0]]
    assert isinstance(record, Persist)
    assert not record.behind
    expected = CosignedRecord(1, block.header.log_size, block.header.log_root)
    assert decode(record.value, CosignedRecord, 100) == expected
    assert decode(talk.disk.journal[RECORD], CosignedRecord, 100) == expected


def is_word(effect: Effect) -> bool:
    from tests.replica.conversation import _opened  # noqa: PLC0415  # what `said` is made with

    return isinstance(effect, Broadcast) and _opened(None, effect.frame).frame.kind == Kind.COSIGNATURE


def test_a_quorum_makes_a_checkpoint_that_everybodys_tools_read() -> None:
    """Kept with q, and once more with all; the policy of the cluster calls it valid, with q - 1 it does not."""
    talk = talking()
    (block,) = committed(talk, talk.wall_ms)
    assert not kept_after(talk, 0, block)
    (first,) = kept_after(talk, 2, block)
    assert [one.member for one in first.cosignatures] == [0, 1, 2]
    assert not kept_after(talk, 2, block), "a second word of one member is nothing new"
    told = [note.fields for note in talk.notes if note.name == "checkpoint_cosigned"]
    assert told == [{"height": 1, "log_size": block.header.log_size}]
    (last,) = kept_after(talk, 3, block)
    assert [one.member for one in last.cosignatures] == [0, 1, 2, 3]
    assert talk.disk.checkpoints == {1: last}
    keys = talk.cosigners[0].keys
    members = [
        MemberKeys(f"m{i}", talk.members.public_keys[i], keys.log_keys[i].public_key, keys.log_keys[i].public_key)
        for i in range(4)
    ]
    verified = check_checkpoint(keys.note(first), cluster_policy(talk.members.chain_id, members))
    assert verified.checkpoint == (keys.origin, block.header.log_size, block.header.log_root, ())
    assert set(verified.cosigned.values()) == {block.header.time_ms // SECOND}
    assert (first.seq, first.log_size, first.log_root) == (1, block.header.log_size, block.header.log_root)
    assert len([note for note in talk.notes if note.name == "checkpoint_cosigned"]) == 1, "not again with all"
    assert not talk.refusals(), "nor is a word refused that is valid, or said twice"


def kept_after(talk: Conversation, member: int, block: Block) -> list[Cosigned]:
    effects = talk.effects_of(talk.hear, member, Kind.COSIGNATURE, word_of(talk, member, block))
    return [effect.cosigned for effect in effects if isinstance(effect, KeepCheckpoint)]


def test_words_that_come_early_wait() -> None:
    """The others may have executed the block before me. At most a few of each: a liar's push out its own."""
    talk = talking()
    block = talk.block()
    for member in (0, 2):
        talk.hear(member, Kind.COSIGNATURE, word_of(talk, member, block))
    for absurd in range(1, EARLY_MAX + 1):
        body = word_of(talk, 3, block)
        talk.hear(3, Kind.COSIGNATURE, Cosignature(0, 10**9 + absurd, *list_of(body)[2:]))
    assert not talk.disk.checkpoints
    talk.commit(block)
    assert [one.member for one in talk.disk.checkpoints[1].cosignatures] == [0, 1, 2]


def test_of_the_early_words_the_latest_wait() -> None:
    """What was said of heights that are not signed here, and never will be, is not in the way."""
    talk = talking(interval=10)
    blocks = [talk.block()]
    while len(blocks) < 10:
        blocks.append(talk.block(blocks))
    for member in (0, 2):
        for block in blocks[1:]:
            talk.hear(member, Kind.COSIGNATURE, word_of(talk, member, block))
    for block in blocks:
        talk.commit(block)
    assert [one.member for one in talk.disk.checkpoints[10].cosignatures] == [0, 1, 2]


def list_of(body: Cosignature) -> list[object]:
    return [getattr(body, name) for name in body.__struct_fields__]


@pytest.mark.covers("K01")
def test_a_false_word_does_not_count() -> None:
    """Another member's signature, or one over something else, is refused; another root for my size is told loudly."""
    talk = talking()
    (block,) = committed(talk, talk.wall_ms)
    talk.hear(0, Kind.COSIGNATURE, word_of(talk, 3, block))
    assert talk.refusals() == ["auth.signature"]
    talk.hear(2, Kind.COSIGNATURE, word_of(talk, 2, block, root=bytes(32)))
    for _ in range(3):  # who repeats it fills nobody's log
        talk.hear(2, Kind.COSIGNATURE, word_of(talk, 2, block, root=bytes(32)))
    assert [note.fields["member"] for note in talk.notes if note.name == "cosigned_otherwise"] == [2]
    both = talk.cosigners[0].cosign(block.header.log_size, block.header.log_root, block.header.time_ms // SECOND) * 2
    talk.hear(0, Kind.COSIGNATURE, Cosignature(0, 1, block.header.log_size, block.header.log_root, both, False))
    assert talk.refusals() == ["auth.signature"] * 2, "a kind that the genesis does not ask for"
    assert not talk.disk.checkpoints


def test_who_lacks_a_quorum_gets_it_by_asking() -> None:
    """Its repetition says that it wants the others'; the answer wants nothing, and comes once, whatever it asks."""
    talk = talking()
    (block,) = committed(talk, talk.wall_ms)
    repeated = of_kind(talk.tick(2 * IDLE_MS), Kind.COSIGNATURE)
    assert all(isinstance(item.body, Cosignature) and item.body.wanting and item.to is None for item in repeated)
    assert repeated
    answers = [item for _ in range(5) for item in talk.hear(3, Kind.COSIGNATURE, word_of(talk, 3, block, wanting=True))]
    (answer,) = of_kind(answers, Kind.COSIGNATURE)
    assert answer.to == 3
    assert isinstance(answer.body, Cosignature)
    assert not answer.body.wanting
    talk.hear(0, Kind.COSIGNATURE, word_of(talk, 0, block))
    assert not of_kind(talk.tick(10 * IDLE_MS), Kind.COSIGNATURE), "a quorum has it"


def test_after_a_restart_the_same_is_signed_again() -> None:
    """The head, with the same bytes; so the others' are learnt, though all that was in memory is lost."""
    talk = talking()
    (block,) = committed(talk, talk.wall_ms)
    (before,) = of_kind(talk.said, Kind.COSIGNATURE)
    talk.restart()
    after = of_kind(talk.tick(2 * IDLE_MS), Kind.COSIGNATURE)
    assert isinstance(before.body, Cosignature)
    assert isinstance(after[0].body, Cosignature)
    assert list_of(after[0].body)[:5] == list_of(before.body)[:5]
    for member in (0, 3):
        talk.hear(member, Kind.COSIGNATURE, word_of(talk, member, block))
    assert talk.disk.checkpoints[1].log_size == 1


def cut_back(talk: Conversation) -> CosignedRecord:
    """The log is gone, the journal is there: started again, with what was signed last, which is returned."""
    journal = dict(talk.disk.journal)
    talk.disk.wipe()
    talk.disk.journal = {RECORD: journal[RECORD], "boot": journal["boot"]}
    talk.boots = [2] * 4
    talk.said.clear()
    talk.restart()
    return decode(journal[RECORD], CosignedRecord, 100)


@pytest.mark.covers("X04")
def test_nobody_signs_two_roots_for_one_size() -> None:
    """A member whose log is another one than the one that it signed cosigns no more, whatever a quorum says.

    Here its log was cut back by somebody who left the journal, and 2f+1 liars gave it another block.
    """
    talk = talking()
    committed(talk, talk.wall_ms)
    signed = cut_back(talk)
    blocks = committed(talk, talk.wall_ms + 5 * SECOND, talk.wall_ms + 7 * SECOND)
    assert talk.height == 2, "it follows and executes"
    assert not cosigned(talk.said)
    talk.tick(10 * IDLE_MS)
    assert not cosigned(talk.said)
    assert "cosigned_another_log" in [note.name for note in talk.notes]
    assert blocks[0].header.log_root != signed.log_root


def test_who_may_not_vote_does_not_cosign() -> None:
    """It has forgotten what it said, or has stopped: what it would say of the log is worth nothing either."""
    talk = Conversation(cosigns=True, introduced=False, parameters=Parameters(checkpoint_interval=1000))
    block = talk.block()
    talk.commit(block)
    assert talk.height == 1
    assert not cosigned([*talk.said, *talk.tick(3 * IDLE_MS)])
    talk.introduce()
    assert 1 in cosigned(talk.tick(2 * IDLE_MS))


def test_of_a_catch_up_only_the_last_checkpoint_is_signed() -> None:
    """The others have a quorum for the older ones long since; a signature and a write for each would be in the way."""
    talk = talking(interval=2)
    blocks: list[Block] = []
    for i in range(20):
        blocks.append(talk.block(blocks, time_ms=talk.wall_ms + SECOND * i))
    talk.status(0, committed=20)
    talk.run(0, blocks, talk.certificate(3, blocks[-1]))
    assert talk.height == 20
    assert cosigned(talk.said) == [20]


def test_memory_is_bounded() -> None:
    """Of what nobody else signs, the latest are remembered."""
    talk = talking(interval=1)
    committed(talk, *[talk.wall_ms] * (OPEN_MAX + 3))
    assert talk.replica.cosigning is not None
    assert len(talk.replica.cosigning._open) == OPEN_MAX


def test_a_first_word_wants_nothing_and_repetitions_come_at_their_pace() -> None:
    """Each half second one, however often time is told."""
    talk = talking()
    committed(talk, talk.wall_ms)
    (first,) = of_kind(talk.said, Kind.COSIGNATURE)
    assert isinstance(first.body, Cosignature)
    assert not first.body.wanting
    for _ in range(4):
        assert len(of_kind([*talk.tick(IDLE_MS), *talk.tick(), *talk.tick()], Kind.COSIGNATURE)) == 1


def test_what_is_signed_is_waited_for_no_more() -> None:
    """A deadline stands for a head that is not signed; for the genesis block, and one that is signed, there is none."""
    talk = talking()
    cosigning = talk.replica.cosigning
    assert cosigning is not None
    assert cosigning.deadline_ms() is None
    talk.tick(2 * IDLE_MS)
    assert cosigning.deadline_ms() is None
    blocks = committed(talk, talk.wall_ms)
    assert cosigning.deadline_ms() is None, "signed as it was executed"
    committed_after = talk.block(blocks, time_ms=blocks[0].header.time_ms)
    talk.commit(committed_after)
    assert cosigning.deadline_ms() == talk.now_ms + IDLE_MS
    talk.tick(IDLE_MS)
    assert cosigning.deadline_ms() is None


def test_a_head_is_signed_again_half_a_second_after_a_restart() -> None:
    """By then it is known whether anything follows; what does, in that second, is signed when nothing follows it."""
    talk = talking()
    blocks = committed(talk, talk.wall_ms)
    talk.said.clear()
    talk.restart()
    assert not cosigned([*talk.said, *talk.tick(IDLE_MS - 1)])
    assert 1 in cosigned(talk.tick(1))
    talk.restart()
    talk.said.clear()
    talk.commit(talk.block(blocks, time_ms=blocks[0].header.time_ms))
    assert talk.height == 2
    assert not cosigned([*talk.said, *talk.tick(IDLE_MS - 1)])
    assert 2 in cosigned(talk.tick(1))


def test_who_asks_is_answered_twice_in_an_idle_time() -> None:
    """From the first moment on."""
    talk = talking()
    (block,) = committed(talk, talk.wall_ms)
    for member in (0, 2):
        talk.hear(member, Kind.COSIGNATURE, word_of(talk, member, block))

    def answers() -> int:
        return len(of_kind(talk.hear(3, Kind.COSIGNATURE, word_of(talk, 3, block, wanting=True)), Kind.COSIGNATURE))

    assert (talk.now_ms, answers(), answers()) == (0, 1, 0)
    talk.tick(IDLE_MS // 2 - 1)
    assert answers() == 0
    talk.tick(1)
    assert answers() == 1


def test_as_many_early_words_wait_as_the_bound_says() -> None:
    """The lowest of them is of the block that comes."""
    talk = talking()
    block = talk.block()
    for member in (0, 2):
        body = word_of(talk, member, block)
        for absurd in range(EARLY_MAX - 1):
            talk.hear(member, Kind.COSIGNATURE, Cosignature(0, 10**9 + absurd, *list_of(body)[2:]))
        talk.hear(member, Kind.COSIGNATURE, body)
    talk.commit(block)
    assert [one.member for one in talk.disk.checkpoints[1].cosignatures] == [0, 1, 2]


@pytest.mark.covers("X04")
def test_of_another_log_of_the_same_size_nothing_is_signed() -> None:
    """The log was cut back, and is now as large as it was at a lower height, so heights do not show it yet."""
    talk = talking()
    committed(talk, talk.wall_ms, talk.wall_ms + SECOND)
    assert cosigned(talk.said) == [1, 2]
    cut_back(talk)
    talk.commit(talk.block((), [talk.transaction(), talk.transaction()], time_ms=talk.wall_ms + 5 * SECOND))
    assert talk.height == 1
    assert not cosigned([*talk.said, *talk.tick(4 * IDLE_MS)])
