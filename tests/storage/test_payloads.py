"""Payloads beside the log: kept whole or not, within a bound, and erased from where they were."""

import os
from pathlib import Path

import pytest

from bftnode.protocol.errors import Reason, Refused
from bftnode.storage.errors import DiskFull, StorageBroken
from bftnode.storage.payloads import Payloads

ROOM = 10 * 4096
SECRET = b"nobody shall read this again"


def names(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    """By a later life as well; what was never kept is not there."""
    payloads = Payloads(tmp_path / "payloads", ROOM)
    contents = {index: b"%d" % index for index in (0, 4095, 4096, 2**63 - 1)}
    for index, content in contents.items():
        payloads.put(index, content)
    payloads.put(0, b"in its place")
    for life in (payloads, Payloads(tmp_path / "payloads", ROOM)):
        assert [life.get(index) for index in contents] == [b"in its place", *list(contents.values())[1:]]
        assert life.get(1) is None
    assert all(not file.endswith(".new") for file in names(tmp_path))


def test_what_is_kept_has_a_bound(tmp_path: Path) -> None:
    """In whole blocks, over lives; what replaces another counts once, and what is erased makes room."""
    payloads = Payloads(tmp_path / "payloads", ROOM)
    for index in range(9):
        payloads.put(index, b"")  # takes no block, and no room
        payloads.put(index, b"x")
    for life in (payloads, Payloads(tmp_path / "payloads", ROOM)):
        life.put(0, b"y")
        with pytest.raises(Refused) as refusal:
            life.put(9, bytes(4097))
        assert refusal.value.reason is Reason.DISK_FULL
        assert life.get(9) is None
    payloads.erase(3)
    payloads.put(9, bytes(4097))


def test_a_full_disk_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves nothing behind, neither the payload nor a part of it."""
    payloads = Payloads(tmp_path / "payloads", ROOM)

    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Refused) as refusal:
            payloads.put(1, SECRET)
    assert refusal.value.reason is Reason.DISK_FULL
    assert (payloads.get(1), names(tmp_path)) == (None, [])
    payloads.put(1, SECRET)


def test_what_is_erased_is_overwritten_where_it_was(tmp_path: Path) -> None:
    """Who holds the file open sees zeros in the place of the bytes; a half-written one of a crash goes too."""
    payloads = Payloads(tmp_path / "payloads", ROOM)
    payloads.put(7, SECRET)
    payloads.put(8, b"stays")
    half = tmp_path / "payloads" / "0" / "7.new"
    half.write_bytes(SECRET[:9])
    with (tmp_path / "payloads" / "0" / "7").open("rb") as kept, half.open("rb") as begun:
        payloads.erase(7)
        assert (kept.read(), begun.read()) == (bytes(len(SECRET)), bytes(9))
    assert names(tmp_path) == ["payloads/0/8"]
    payloads.erase(7)
    payloads.erase(99_999)
    assert (payloads.get(7), payloads.get(8)) == (None, b"stays")


@pytest.mark.parametrize(("number", "error"), [(28, DiskFull), (5, StorageBroken)])
def test_where_nothing_can_be_erased_nothing_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    """A broken disk ends the node; on a full one it is tried again when there is room, and the name is gone already."""
    payloads = Payloads(tmp_path / "payloads", ROOM)
    payloads.put(7, SECRET)

    def fails(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        for work in (lambda: payloads.erase(7), lambda: payloads.carried_out(1)):
            with pytest.raises(error):
                work()
    assert (payloads.erasures, payloads.get(7)) == (0, None)
    payloads.erase(7)
    payloads.carried_out(1)
    assert payloads.erasures == 1


def test_how_far_erasing_went_is_remembered(tmp_path: Path) -> None:
    """And begins anew where the note of it cannot be read: erasing again does no harm."""
    path = tmp_path / "payloads"
    assert Payloads(path, ROOM).erasures == 0
    Payloads(path, ROOM).carried_out(12)
    assert Payloads(path, ROOM).erasures == 12
    whole = (path / "erased").read_bytes()
    for raw in (b"1x", b"", b"13", whole[:-1], whole + b"0", bytes(100)):
        (path / "erased").write_bytes(raw)
        assert Payloads(path, ROOM).erasures == 0


@pytest.mark.covers("D06")
def test_no_flipped_bit_leaves_out_an_erasure(tmp_path: Path) -> None:
    """Another number than the one that was written down is no number: all are carried out again."""
    Payloads(tmp_path, ROOM).carried_out(12)
    whole = (tmp_path / "erased").read_bytes()
    for bit in range(8 * len(whole)):
        flipped = int.from_bytes(whole, "big") ^ 1 << bit
        (tmp_path / "erased").write_bytes(flipped.to_bytes(len(whole), "big"))
        assert Payloads(tmp_path, ROOM).erasures == 0
