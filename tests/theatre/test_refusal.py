"""Who may end by itself: a member whose disk was damaged, if it says so and exits with a code."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bftnode.protocol.ed25519 import public_key_of
from simulations.script import Script
from theatre.troupe import Failed, Troupe

POPEN = subprocess.Popen

COMPLAINT = '{"event": "node_stopped", "reason": "broken", "detail": "IntegrityError: journal/00: the checksum"}'
OTHER = '{"event": "node_stopped", "reason": "broken", "detail": "AssertionError: two blocks at one height"}'


@pytest.fixture
def troupe(tmp_path: Path) -> Iterator[Troupe]:
    troupe = Troupe(tmp_path, Script(story="Rot.", covers=(), step=()), [public_key_of(bytes(32)).hex()], {})
    yield troupe
    troupe.close()


def perform(troupe: Troupe, monkeypatch: pytest.MonkeyPatch, line: str, code: int) -> None:
    """Member 1 is a process that says `line` and ends."""
    program = f"import sys; sys.stderr.write({line!r} + chr(10)); sys.exit({code})"

    def start(command: list[str], **rest: object) -> "subprocess.Popen[bytes]":
        return POPEN([sys.executable, "-c", program], stderr=rest["stderr"])  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr("theatre.troupe.subprocess.Popen", start)
    troupe.launch(1)
    troupe._processes[1].wait()


@pytest.mark.covers("D06")
def test_a_damaged_disk_is_refused_by_who_says_so(troupe: Troupe, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is down then; and what it said is known until it is started again."""
    troupe.damaged(1)
    perform(troupe, monkeypatch, COMPLAINT, 5)
    troupe.check_alive()
    assert not troupe.is_up(1)
    assert troupe.refused == {1: "IntegrityError: journal/00: the checksum (exit code 5)"}
    perform(troupe, monkeypatch, OTHER, 5)
    assert troupe.refused == {}
    with pytest.raises(Failed, match="n1 ended by itself, exit code 5"):
        troupe.check_alive()


@pytest.mark.parametrize(
    ("damaged", "line", "code"),
    [(False, COMPLAINT, 5), (True, OTHER, 5), (True, "", 5), (True, COMPLAINT, 0)],
    ids=["nothing was damaged", "a belief is broken", "without a word", "as if in order"],
)
def test_any_other_end_fails_the_play(
    troupe: Troupe, monkeypatch: pytest.MonkeyPatch, damaged: bool, line: str, code: int
) -> None:
    """A healthy disk that is refused is a bug, and so is a member that dies of a damaged one in another way."""
    if damaged:
        troupe.damaged(1)
    perform(troupe, monkeypatch, line, code)
    with pytest.raises(Failed, match=f"n1 ended by itself, exit code {code}"):
        troupe.check_alive()
    assert troupe.refused == {}


def test_another_disk_is_no_damaged_one(troupe: Troupe, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused after it was wiped was not damaged by the play."""
    troupe.home(1).data_path.mkdir(exist_ok=True)
    troupe.damaged(1)
    troupe.wipe_data(1)
    perform(troupe, monkeypatch, COMPLAINT, 5)
    with pytest.raises(Failed, match="n1 ended by itself"):
        troupe.check_alive()
