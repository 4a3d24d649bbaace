"""The table of promises: what holds up to f, what is shown beyond it, and that the table can fail."""

from pathlib import Path
from unittest.mock import patch

import pytest

from bftnode.protocol.forensics import Culprit, Findings
from bftnode.replica.forks import Forks
from simulations import coalition, guarantees
from simulations.coalition import Cabal, conspirators, framers, ladder, silent, split
from simulations.command import main
from simulations.guarantees import Cell, line
from simulations.world import Violation


@pytest.mark.covers("X02", "X03", "X04", "X05", "X06", "X07", "X10")
@pytest.mark.parametrize(("n", "count"), [(4, 2), (4, 3), (7, 3)])
def test_beyond_f_a_fork_is_shown_seen_and_blamed(n: int, count: int) -> None:
    """What is not promised breaks, and what is promised whatever the size holds."""
    found = line(n, count, range(2))
    assert not found.faults()
    assert found.safety.broken
    assert found.attribution.held == found.attribution.runs > 0
    assert found.offline.held == found.offline.runs > 0
    assert found.online.held == found.online.runs


@pytest.mark.covers("X01", "O02", "N01", "N11")
@pytest.mark.parametrize(("n", "count"), [(4, 0), (4, 1), (7, 2)])
def test_up_to_f_every_promise_holds(n: int, count: int) -> None:
    """The same attacks, by f or fewer: no fork, no halt."""
    found = line(n, count, range(2))
    assert not found.faults()
    assert found.safety.held == found.safety.runs > 0
    assert found.liveness.held == found.liveness.runs > 0


def test_attribution_that_names_nobody_is_a_failure() -> None:
    """With forensics that find no culprits the line says so."""
    with patch.object(coalition, "investigate", lambda *_: Findings(1, ())):
        faults = line(4, 2, range(1)).faults()
    assert any("attribution is promised" in fault for fault in faults)


def test_a_fork_that_nobody_sees_is_a_failure() -> None:
    """With members that say nothing where the log is contradicted, to people or to each other, the line says so."""
    for where, what in ((coalition.Observer, "on_note"), (Forks, "_say")):
        with patch.object(where, what, lambda *_: None):
            faults = line(4, 2, range(1)).faults()
        assert any("online is promised" in fault for fault in faults)


def test_a_proof_that_does_not_go_round_is_a_failure() -> None:
    """One stops; with members that do not believe it the others go on, and the line says so."""
    with patch.object(Forks, "on_fork", lambda *_: None):
        faults = line(7, 3, range(2)).faults()
    assert any("online is promised" in fault for fault in faults)


def test_a_question_that_no_run_asks_is_a_failure() -> None:
    """Neither kind of fork, nor the members' own discovery, can disappear unnoticed behind the others."""

    def never_asked(n: int, conspirators: tuple[int, ...], seed: int, **options: int) -> coalition.Came:
        came = split(n, conspirators, seed, **options)
        came.detected = None
        return came

    def of_one_kind(n: int, conspirators: tuple[int, ...], seed: int, **options: int) -> coalition.Came:
        return split(n, tuple(range(len(conspirators))), seed, **options)

    with (
        patch.object(guarantees, "split", never_asked),
        patch.object(guarantees, "conspirators", lambda *_: coalition.Came("conspirators", 0)),
        patch.object(guarantees, "ladder", lambda *_: coalition.Came("ladder", 0)),
    ):
        faults = line(4, 2, range(2)).faults()
        assert any("members that stop" in fault for fault in faults)
        assert any("two branches of one view" in fault for fault in faults)
    with patch.object(guarantees, "split", of_one_kind):
        assert any("a fork across views" in fault for fault in line(7, 3, range(2)).faults())


@pytest.mark.covers("X02", "X03", "V02")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n", "count"), [(4, 1), (4, 2), (7, 3), (7, 5)])
def test_two_branches_of_one_view_are_blamed_without_a_second_vote(n: int, count: int, seed: int) -> None:
    """Committed at once, reported by the conspirators, or by the honest alone: the proof is that they are two branches;
    up to f nothing forks, and all goes on."""
    came = ladder(n, tuple(range(count)), seed)
    assert came.forked == (count > (n - 1) // 3)
    assert came.live is (None if came.forked else True)
    if came.forked:
        assert came.exposed
        assert came.blamed
        assert came.detected
        assert any("on another branch than its COMMIT" in proof for proof in came.proofs)
        assert not any(proof.startswith("two ") or "hides" in proof for proof in came.proofs if seed % 3 != 1)


@pytest.mark.parametrize("attack", [silent, conspirators, framers, split, ladder])
def test_forensics_that_blame_the_honest_end_the_run(attack: guarantees.Attack) -> None:
    """Asked after every run, forked or not."""
    blamed = Findings(None, (Culprit(3, "nothing", b"", b""),))
    with patch.object(coalition, "investigate", lambda *_: blamed), pytest.raises(Violation, match="framed"):
        attack(4, (0,), 0)


def test_a_story_of_a_fork_does_not_end_as_safe(capsys: pytest.CaptureFixture[str]) -> None:
    """What is told at the end is what came of it."""
    assert main(["run", "split-brain", "--quiet"]) == 0
    told = capsys.readouterr().out
    assert "the log forked" in told
    assert "safe" not in told


def test_histories_are_never_merged() -> None:
    """A member that takes up another history for what it has executed is told, beyond f, too."""
    cabal = Cabal(4, (0, 1), 0, "merge")
    cabal.start(cabal.nodes)
    cabal.submit(cabal.nodes, 1, 0)
    assert cabal.run(5000, lambda: 1 in cabal.judge.chains.get(2, {}))
    cabal.judge.chains[3] = {1: bytes(32)}
    cabal.submit(cabal.nodes, 1, 1)
    cabal.nodes[3].crash()
    cabal.nodes[3].disk.wipe()
    cabal.nodes[3].start()
    with pytest.raises(Violation, match="merged"):
        cabal.run(20_000)


def test_an_attack_that_breaks_nothing_is_a_failure() -> None:
    """Beyond f a table without a fork, a halt or an attribution shows nothing."""
    with patch.object(guarantees, "split", lambda *_, **__: coalition.Came("split", 0)):
        faults = line(7, 3, range(1)).faults()
    assert any("a fork in one view could not be shown" in fault for fault in faults)


def test_a_broken_promise_is_a_failure() -> None:
    """A fork with f conspirators must not pass for one beyond f."""
    with patch.object(guarantees, "split", lambda *_, **__: coalition.Came("split", 0, forked=True)):
        faults = line(4, 1, range(1)).faults()
    assert any("safety is promised" in fault for fault in faults)


def test_an_honest_member_that_is_accused_ends_the_run() -> None:
    """Whatever the size of the coalition, that is a violation."""
    honest = Cabal.__init__

    def framing(self: Cabal, n: int, conspirators: tuple[int, ...], seed: int, attack: str) -> None:
        honest(self, n, conspirators, seed, attack)
        self.judge.faulty.clear()  # the judge takes all for honest

    with patch.object(Cabal, "__init__", framing), pytest.raises(Violation, match="framed"):
        conspirators(4, (0,), 0)


def test_the_same_seed_gives_the_same_run() -> None:
    """Attacks are worlds like any other."""
    assert silent(4, (1,), 3) == silent(4, (1,), 3)
    assert split(7, (0, 1, 2), 1) == split(7, (0, 1, 2), 1)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell(True, 3, 3), "**held**, 3 of 3"),
        (Cell(True, 2, 3), "BROKEN in 1 of 3"),
        (Cell(False, 2, 3), "broken in 1 of 3"),
        (Cell(False, 3, 3), "not broken in 3"),
        (Cell(True, 0, 0), "-"),
    ],
)
def test_what_a_cell_says(cell: Cell, text: str) -> None:
    """A broken promise does not look like one that was never made."""
    assert str(cell) == text


def test_the_command_writes_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One size, to a file, with progress beside it."""
    assert main(["guarantees", "--n", "4", "--write", str(tmp_path / "table.md")]) == 0
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| 2 (f+1 = 2f) | broken in" in text
    assert "4 conspirators" not in text
    assert "n=4: 3 conspirators" in capsys.readouterr().err


def test_where_it_cannot_be_written_is_said_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not after two minutes."""
    with pytest.raises(SystemExit) as ended:
        main(["guarantees", "--write", str(tmp_path / "nowhere" / "table.md")])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "cannot be written" in told
    assert "conspirators" not in told
