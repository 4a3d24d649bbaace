"""What data say to forensics: read from files that a liar may have written, and left as they were."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bftnode.protocol.codec import encode
from bftnode.protocol.messages import ForkProof
from bftnode.storage.store import Storage, StorageBroken, Turn
from bftnode.storage.testimony import read_testimony
from tests.protocol.cluster import Cluster
from tests.storage.chains import World, rewrite_block

PAGE_BYTES = 4096
FLAGS, LEAF, SUBPAGE = 10, 0x02, 0x40
"""Where a page of LMDB says what it is (mdb.c, MDB_page), and two things that it may say."""


def build(path: Path, world: World) -> Storage:
    storage = Storage.open(path, world.membership, 1, world.executor(), map_bytes_initial=1024 * 1024)
    storage.commit(world.turn(*(world.notes(3, certified=at != 1) for at in range(3))))
    storage.commit(Turn({f"new_view.{view}": bytes((view,)) * 700 for view in range(40)}))
    return storage


def test_headers_certificates_and_new_views(tmp_path: Path) -> None:
    """Of a living node, of the stopped one, and of a copy of lmdb/ alone: the same."""
    world = World()
    storage = build(tmp_path / "data", world)
    script = "import sys, pathlib, bftnode.storage.testimony as t; print(t.read_testimony(pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", script, str(tmp_path / "data" / "lmdb")]
    beside = subprocess.run(command, capture_output=True, text=True, check=True)  # LMDB opens a file once a process
    storage.close()
    stopped = read_testimony(tmp_path / "data" / "lmdb")
    assert len(stopped.headers) == 4
    assert [certificate.seq for certificate in stopped.certificates] == [1, 3]
    assert sorted(stopped.new_views) == [bytes((view,)) * 700 for view in range(40)]
    assert beside.stdout == f"{stopped}\n"
    shutil.copytree(tmp_path / "data" / "lmdb", tmp_path / "copy")
    assert read_testimony(tmp_path / "copy") == stopped


@pytest.mark.covers("X02")
def test_what_it_holds_beside_its_log(tmp_path: Path) -> None:
    """Blocks that are not committed, the highest certificate, and the one at which it stopped."""
    world = World()
    storage = build(tmp_path / "data", world)
    beside = [world.propose([world.admin.note("a", text)]) for text in ("one", "two")]
    highest, other = (world.certificate(block, view) for view, block in enumerate(beside))
    storage.commit(Turn({"highest": encode(highest), "fork": encode(other)}, beside))
    storage.close()
    found = read_testimony(tmp_path / "data" / "lmdb")
    assert len(found.headers) == 4
    assert sorted(found.loose) == sorted(block.header_raw for block in beside)
    assert {highest, other} < set(found.certificates)


@pytest.mark.covers("X02", "X03")
def test_what_it_stopped_at_is_part_of_it(tmp_path: Path) -> None:
    """The certificate that it met, and the proof that it was shown, with the headers of the other branch."""
    world, cluster = World(), Cluster()
    storage = build(tmp_path / "data", world)
    met, lower, higher = (cluster.certificate(seq=seq, block=bytes((seq,)) * 32) for seq in (3, 2, 3))
    proof = ForkProof(0, (lower, higher), (b"a header",))
    storage.commit(Turn({"fork": encode(met), "fork_proof": encode(proof)}))
    storage.close()
    found = read_testimony(tmp_path / "data" / "lmdb")
    assert found.certificates[2:] == (met, lower, higher)
    assert (len(found.headers), found.loose) == (4, (b"a header",))


@pytest.mark.covers("O12")
def test_a_copy_stays_as_it_is(tmp_path: Path) -> None:
    """It is a piece of evidence: no file more, and none changed."""
    world = World()
    build(tmp_path / "data", world).close()
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(tmp_path / "data" / "lmdb" / "data.mdb", copy)
    before = (copy / "data.mdb").read_bytes()
    read_testimony(copy)
    assert [path.name for path in copy.iterdir()] == ["data.mdb"]
    assert (copy / "data.mdb").read_bytes() == before


@pytest.mark.covers("D14", "O12")
def test_a_page_that_is_none_ends_the_reading_and_not_the_process(tmp_path: Path) -> None:
    """LMDB believes what a page says of itself, and aborts on some of it: every leaf in turn says something else."""
    world = World()
    build(tmp_path / "data", world).close()
    (tmp_path / "copy").mkdir()
    file = tmp_path / "copy" / "data.mdb"
    good = (tmp_path / "data" / "lmdb" / "data.mdb").read_bytes()
    file.write_bytes(good)
    sound = read_testimony(tmp_path / "copy")
    found = 0
    for page in range(2, len(good) // PAGE_BYTES):
        at = page * PAGE_BYTES + FLAGS
        if good[at] != LEAF or good[at + 1] != 0:
            continue
        damaged = bytearray(good)
        damaged[at] = SUBPAGE
        file.write_bytes(damaged)
        try:
            assert read_testimony(tmp_path / "copy") == sound, "a page that nothing leads to"
        except StorageBroken:
            found += 1
    assert found >= 5


def test_a_changed_record_is_no_testimony(tmp_path: Path) -> None:
    """What fits its seal but does not decode is damage, said with its name."""
    world = World()
    build(tmp_path / "data", world).close()
    rewrite_block(tmp_path / "data", 3, world.head.header_raw, world.head.payload, b"\x90")
    with pytest.raises(StorageBroken, match="log/0000000000000003"):
        read_testimony(tmp_path / "data" / "lmdb")
