"""Nonces from a file: never twice, over crashes, and between processes with one key."""

import subprocess
import sys
from pathlib import Path

import pytest

from bftnode.client.nonces import BLOCK, NONCE_MAX, CountingNonces, FileNonces
from bftnode.protocol.errors import Reason, Refused


@pytest.mark.covers("R10", "P44")
def test_a_restart_goes_on_above_all_that_was_taken(tmp_path: Path) -> None:
    """After a clean close without a gap; after a crash with one of at most a block."""
    path = tmp_path / "key.nonce"
    nonces = FileNonces(path)
    assert [nonces.take() for _ in range(3)] == [1, 2, 3]
    nonces.close()
    crashed = FileNonces(path)
    assert crashed.take() == 4
    after = FileNonces(path)
    assert after.take() == 4 + BLOCK
    after.close()
    crashed.close()
    assert FileNonces(path).take() == 5 + BLOCK


@pytest.mark.covers("A02")
def test_two_sources_of_one_key_never_give_the_same(tmp_path: Path) -> None:
    """They reserve blocks in turn; one that fell far behind takes a new block, not nonces too old to be accepted."""
    slow, fast = FileNonces(tmp_path / "n"), FileNonces(tmp_path / "n")
    taken = [slow.take()]
    taken += [fast.take() for _ in range(5 * BLOCK)]
    late = slow.take()
    assert late > max(taken)
    assert len({*taken, late}) == 5 * BLOCK + 2
    slow.close()
    fast.close()


@pytest.mark.covers("A02")
def test_processes_share_a_key_through_the_lock(tmp_path: Path) -> None:
    """Four at once, each taking from several blocks."""
    program = (
        "import sys; from pathlib import Path; from bftnode.client.nonces import FileNonces\n"
        "nonces = FileNonces(Path(sys.argv[1])); print(*[nonces.take() for _ in range(2500)]); nonces.close()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "n")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    taken = [int(word) for process in running for word in process.communicate(timeout=60)[0].split()]
    assert len(taken) == len(set(taken)) == 10_000


def test_what_the_cluster_has_seen_is_skipped(tmp_path: Path) -> None:
    """A lost file is made good by what members know; a number below what is reserved changes nothing."""
    nonces = FileNonces(tmp_path / "n")
    nonces.skip_to(500)
    assert nonces.take() == 501
    nonces.skip_to(300)
    assert nonces.take() == 502
    nonces.skip_to(700)
    assert nonces.take() > 700
    nonces.close()
    counting = CountingNonces()
    counting.skip_to(7)
    counting.skip_to(3)
    assert counting.take() == 8
    counting.close()


@pytest.mark.parametrize("content", [b"5", b"x" * 20 + b"\n", b"0" * 22, b"0" * 19 + b"\n", b"0" * 20 + b"\n"])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    """Guessing would mean taking a nonce twice."""
    path = tmp_path / "n"
    path.write_bytes(content)
    with pytest.raises(Refused) as caught:
        FileNonces(path)
    assert caught.value.reason is Reason.INTEGRITY


def test_nothing_beyond_what_can_be_sent_is_taken(tmp_path: Path) -> None:
    """A damaged file of twenty digits: what is taken from it no envelope has room for."""
    path = tmp_path / "n"
    for first in (b"%020d\n" % (NONCE_MAX - BLOCK + 1), b"9" * 20 + b"\n"):
        path.write_bytes(first)
        nonces = FileNonces(path)
        with pytest.raises(Refused) as caught:
            nonces.take()
        assert caught.value.reason is Reason.INTEGRITY
        nonces.close()
        assert path.read_bytes() == first
    path.write_bytes(b"%020d\n" % (NONCE_MAX - BLOCK))
    assert FileNonces(path).take() == NONCE_MAX - BLOCK
