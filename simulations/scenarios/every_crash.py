"""kill -9 at every write and after every message of one member, in a run with a view change."""

from simulations.scenarios.stage import Stage

covers = ("D01", "D02", "P13", "P26")


def _run(member: int, *, write: int | None = None, words: int | None = None) -> int:
    """A run with one crash of `member`: in its write number `write`, or after it has said so many words in a turn.

    How many writes it made.
    """
    stage = Stage(seed=f"crash {member}")
    node, count = stage.nodes[member], 0

    def delay() -> int:
        nonlocal count
        count += 1
        if write is not None and count == write:
            stage.world.after(1, _again, stage, member)
            return 2
        return 0

    node.sync_delay_ms = delay
    if words is not None:
        node.crash_after_sends = words
        stage.world.after(150, _again, stage, member)
    for _ in range(2):
        stage.submit()
    stage.run(100)
    stage.isolate(0)
    wanted = stage.submit(1, 2, 3)
    # Nobody may be missing beside the one that is cut off: for a moment there is no quorum.
    stage.run(700)
    stage.network.join()
    stage.expect_executed(wanted)
    return count


def _again(stage: Stage, member: int) -> None:
    stage.nodes[member].crash()
    stage.world.after(50, stage.nodes[member].start)


def play(member: int = 1) -> int:
    """How many crashes were tried."""
    writes = _run(member)
    for write in range(1, writes + 1):
        _run(member, write=write)
    for words in range(12):
        _run(member, words=words)
    return writes + 12
