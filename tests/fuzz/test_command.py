"""The command: a file once more, what it says of one that breaks something, and of what is not there."""

from pathlib import Path

import pytest

from nights.fuzz import command
from nights.fuzz.oracle import Target
from nights.fuzz.targets import TARGETS
from nights.fuzz.trees import leave, mutator


def test_a_file_once_more(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken, refused, and broken, which is exit code 1."""
    taken, refused = tmp_path / "taken", tmp_path / "refused"
    taken.write_bytes(TARGETS["frames"].seeds()[1])
    refused.write_bytes(b"\xc1")
    assert command.main(["frames", str(taken), str(refused)]) == 0
    assert [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()] == [
        "taken, and all holds",
        "refused, and all holds",
    ]
    planted = Target("frames", "", lambda data: {}[data], list, mutator(leave, list))
    monkeypatch.setitem(TARGETS, "frames", planted)
    assert command.main(["frames", str(taken)]) == 1
    assert "BROKEN: nothing but refusals is raised: KeyError" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [[], ["play"], ["play", "4", "2"], ["nothing", "x"], ["frames"], ["frames", "/no/such/file"]]
)
def test_what_is_not_understood_says_what_to_do(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and a hint."""
    assert command.main(arguments) == 2
    assert "hint:" in capsys.readouterr().err


def test_every_target_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """With what it holds against what."""
    assert command.main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(TARGETS)
