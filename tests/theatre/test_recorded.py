"""What a member says is written down before it is said, and two words in one place are found."""

from pathlib import Path
from typing import cast

import pytest

from bftnode.protocol.certificates import COMMIT, PREPARE, Vote
from bftnode.protocol.codec import Wire
from bftnode.protocol.envelope import encode_frame, open_frame
from bftnode.protocol.framing import join_frames
from bftnode.protocol.messages import Kind, ViewChange
from bftnode.storage.store import Storage
from tests.replica.conversation import Conversation
from tests.theatre.test_malicious import Sink
from theatre.recorded import Recorder, judge_words, words_of
from theatre.troupe import Failed

ME = 3


class Network(Sink):
    """It also broadcasts."""

    def broadcast(self, frame: bytes) -> None:
        self.sent.append((-1, frame))


def vote(phase: int, view: int, seq: int, block: bytes) -> tuple[Kind, Wire]:
    return Kind(phase), Vote(0, view, seq, block * 32)


def change(view: int) -> tuple[Kind, Wire]:
    return Kind.VIEW_CHANGE, ViewChange(0, view, None)


def say(path: Path, *lives: list[tuple[Kind, Wire]]) -> None:
    """Each life of member ME says these things; the last one dies while it writes another word."""
    talk = Conversation()
    for words in lives:
        recorder, network = Recorder(path), Network()
        mouth = recorder.mouth(talk.replica, cast(Storage, None), network)
        for kind, body in words:
            frame = encode_frame(talk.seal(ME, kind, body))
            mouth.broadcast(frame)
            mouth.send(0, frame)
            assert network.sent == [(-1, frame), (0, frame)]
            network.sent.clear()
    last = sorted(path.iterdir())[-1]
    last.write_bytes(last.read_bytes() + join_frames([b"cut short"])[:6])


def test_what_is_said_again_is_no_contradiction(tmp_path: Path) -> None:
    """In another life too, under another nonce; and what may be said often is not written down."""
    words = [vote(PREPARE, 0, 1, b"a"), vote(COMMIT, 0, 1, b"a"), change(1), vote(PREPARE, 1, 1, b"b")]
    say(tmp_path, words, words[2:])
    assert judge_words(ME, tmp_path) == 2 * 6
    assert judge_words(0, tmp_path) == 0, "somebody else's, passed on"
    assert [open_frame(encode_frame(frame)).kind for frame in words_of(tmp_path)][:2] == [PREPARE, PREPARE]
    assert judge_words(ME, tmp_path / "none") == 0


@pytest.mark.covers("P10", "P13")
@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (vote(PREPARE, 0, 1, b"a"), vote(PREPARE, 0, 1, b"b"), "n3: two different PREPAREs at view 0, height 1"),
        (vote(COMMIT, 2, 9, b"a"), vote(COMMIT, 2, 9, b"b"), "n3: two different COMMITs at view 2, height 9"),
        (change(2), vote(COMMIT, 1, 1, b"a"), "n3 votes in view 1, which it has left"),
    ],
)
def test_two_lives_that_contradict_each_other_are_found(
    tmp_path: Path, first: tuple[Kind, Wire], second: tuple[Kind, Wire], words: str
) -> None:
    """A disk that forgets is no excuse."""
    say(tmp_path, [first], [second])
    with pytest.raises(Failed, match=words):
        judge_words(ME, tmp_path)
