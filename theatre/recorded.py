"""A correct member whose words are kept: `python -m theatre.recorded --home DIR --words DIR`.

The ordinary daemon with a mask that writes down what a member may say once only, before it is said, and changes nothing
of it. Each life has a file of its own, which ends where kill -9 found it. So whoever comes later knows what was said
even where the member's own disk has forgotten it (docs/protocol.md, "What must survive a crash").
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import trio

from bftnode.net.link import Receive
from bftnode.node.daemon import main as run_daemon
from bftnode.node.driver import Mouth
from bftnode.node.home import find_home
from bftnode.protocol.blocks import open_header
from bftnode.protocol.certificates import Vote
from bftnode.protocol.codec import encode
from bftnode.protocol.envelope import Frame, open_frame, peek_kind
from bftnode.protocol.framing import FrameReader, join_frames
from bftnode.protocol.limits import FRAME_BYTES_MAX
from bftnode.protocol.messages import Kind, NewView, PrePrepare, ViewChange, open_body
from bftnode.replica.core import Replica
from bftnode.storage.store import Storage
from simulations.judges import SAID_ONCE
from simulations.judges.speech import Speech
from simulations.world import Violation
from theatre.troupe import Failed


class Recorder:
    """A daemon's Mask: hears nothing, changes nothing, and writes down."""

    def __init__(self, words: Path) -> None:
        words.mkdir(exist_ok=True)
        life = words / f"{len(list(words.iterdir())):06}"
        self._file = os.open(life, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._mouth: Mouth | None = None

    def ears(self, receive: Receive) -> Receive:
        return receive

    def mouth(self, replica: Replica, storage: Storage, mouth: Mouth) -> Mouth:
        self._mouth = mouth
        return self

    async def live(self) -> None:
        await trio.sleep_forever()

    def send(self, member: int, frame: bytes) -> None:
        self._write_down(frame)
        self._of_network.send(member, frame)

    def broadcast(self, frame: bytes) -> None:
        self._write_down(frame)
        self._of_network.broadcast(frame)

    def together(self) -> AbstractContextManager[None]:
        return self._of_network.together()

    @property
    def _of_network(self) -> Mouth:
        assert self._mouth is not None, "masked"
        return self._mouth

    def _write_down(self, frame: bytes) -> None:
        if peek_kind(frame) in SAID_ONCE:
            os.write(self._file, join_frames([frame]))


def words_of(words: Path) -> Iterator[Frame]:
    """What a recorded member has said, in all its lives, in order."""
    for life in sorted(words.iterdir()) if words.exists() else ():
        for raw in FrameReader(FRAME_BYTES_MAX).feed(life.read_bytes()):
            yield open_frame(raw)


def judge_words(member: int, words: Path) -> int:
    """Nothing said twice in two ways, and nothing in a view that was left, over all lives; how much was said.

    Raises Failed.
    """
    speech, count = Speech(), 0
    for frame in words_of(words):
        if frame.sender != member:
            continue  # another one's NEW-VIEW, passed on
        count += 1
        try:
            _say(speech, frame)
        except Violation as violation:
            raise Failed(str(violation)) from None
    return count


def _say(speech: Speech, frame: Frame) -> None:
    kind, member, body = Kind(frame.kind), frame.sender, open_body(frame)
    match body:
        case Vote():
            speech.says(member, kind, body.view, body.seq, body.block)
            speech.votes(member, body.view)
        case PrePrepare():
            speech.says(member, kind, body.view, open_header(body.header).seq, body.header)
        case ViewChange():
            speech.says(member, kind, body.view, 0, encode(body))
            speech.leaves(member, body.view)
        case NewView():
            speech.says(member, kind, body.view, 0, frame.body)
        case _:
            raise AssertionError("not said once")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m theatre.recorded", description="A member whose words are kept.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--words", type=Path, required=True, metavar="DIR", help="one file a life is added to it")
    options = parser.parse_args(arguments)
    home = find_home(options.home, os.environ)
    config = home.load_config(os.environ, {}).config
    return run_daemon(home, config, Recorder(options.words))


if __name__ == "__main__":
    sys.exit(main())
