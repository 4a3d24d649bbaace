"""A node's storage in a process of its own, to be limited or killed: `python -m tests.storage.child VERB DIRECTORY`."""

import resource
import sys
from itertools import count
from pathlib import Path

from bftnode.storage import pending
from bftnode.storage.store import DiskFull, Storage
from tests.storage.chains import World

MIB = 1024 * 1024
ROOT = Path(__file__).parents[2]


def commit_for_ever(path: Path) -> None:
    """Commit a block a turn, and say its height when it is durable. Goes on from where an earlier one was killed."""
    world = World()
    storage = Storage.open(path, world.membership, 0, world.executor(), map_bytes_initial=MIB // 4)
    storage.recover()
    for seq in count(1):
        effect = world.notes(5)
        if seq > storage.height:
            storage.commit(world.turn(effect))
            print(seq, flush=True)


def commit_and_flush_for_ever(path: Path) -> None:
    """As above, where the derived data are written with every other block."""
    pending.FLUSH_BLOCKS = 2
    commit_for_ever(path)


def fill_the_disk(path: Path) -> None:
    """Fill a disk of 2 MiB (as far as this process can tell), go on reading, and go on writing when it is larger."""
    world = World()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, hard))
    storage = Storage.open(path, world.membership, 0, world.executor(), map_bytes_initial=MIB // 2)
    turn = world.turn()
    try:
        while True:
            turn = world.turn(world.notes(20, "x" * 500))
            storage.commit(turn)
    except DiskFull:
        height = storage.height - storage.unwritten
    assert height == world.head.seq - 1 > 10, "what fitted was committed, and the turn that did not was not"
    for _ in range(3):
        try:
            storage.commit(turn)
            raise AssertionError("the disk is still full")
        except DiskFull:
            pass
    assert storage.entries(0, 1)[0].seq == 1, "a full disk can be read"
    assert storage.receipt(height * 20 - 1) is not None
    storage.close()
    storage = Storage.open(path, world.membership, 0, world.executor(), map_bytes_initial=4 * MIB)
    assert storage.height == height, "a node whose disk is full can start"
    assert storage.recover().journal == {"position": b"%d" % height}, "nothing of the failed turn was written"
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    [committed] = storage.commit(turn)
    assert committed.executed.seq == storage.height == height + 1
    storage.commit(world.turn(world.notes(20)))
    storage.check_state()
    storage.close()
    print(height)


if __name__ == "__main__":
    {"commit": commit_for_ever, "commit-and-flush": commit_and_flush_for_ever, "fill": fill_the_disk}[sys.argv[1]](
        Path(sys.argv[2])
    )
