"""Seeds: fresh ones, those that once failed, and that a seed is one run and no other.

`python -m simulations` plays more of them; a seed that fails there is added to regression_seeds.txt, for ever.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest

from bftnode.protocol import ed25519, quorums
from simulations import bench, campaign
from simulations.adversaries import BEHAVIOURS, TWINS
from simulations.campaign import report
from simulations.catalogue import names
from simulations.command import main
from simulations.simulation import Simulation, play
from simulations.swarm import SIZES, draw
from simulations.world import World

HERE = Path(__file__).parent
FRESH = 200
CHUNK = 20


def regression_seeds() -> list[tuple[int, tuple[int, ...]]]:
    found = []
    for line in (HERE / "regression_seeds.txt").read_text(encoding="ascii").splitlines():
        if line and not line.startswith("#"):
            seed, sizes = line.split("|")[:2]
            found.append(
                (int(seed), tuple(int(size) for size in sizes.split(",")) if sizes.strip() != "all" else SIZES)
            )
    return found


@pytest.mark.covers("V13", "V15", "V16", "N19", "V14")
@pytest.mark.parametrize("first", range(0, FRESH, CHUNK))
def test_seeds(first: int) -> None:
    """Unkind worlds stay safe; when they become kind, everything that correct clients asked for is done."""
    for seed in range(first, first + CHUNK):
        outcome = play(draw(seed))
        assert outcome.violation is None, report(seed, SIZES)


@pytest.mark.parametrize(("seed", "sizes"), regression_seeds())
def test_seeds_that_failed_once(seed: int, sizes: tuple[int, ...]) -> None:
    """What was found stays found."""
    assert play(draw(seed, sizes)).violation is None, report(seed, sizes)


@pytest.mark.covers(
    "N01", "N02", "N03", "N05", "N07", "N08", "N09", "N10", "N11", "N12", "N13", "N16", "N17", "N18", "N20",
    "V01", "V02", "V04", "V05", "V06", "V07", "V08", "V10", "V11", "K05", "K06", "K07", "R01", "R09", "R10", "R14",
    "R15", "O02", "O12", "X07",
)  # fmt: skip
@pytest.mark.parametrize("behaviour", [*BEHAVIOURS, TWINS, "all"])
def test_each_adversary(behaviour: str) -> None:
    """f members with one behaviour (or with all of them), in good weather and in bad: safe, live, nobody framed."""
    names = tuple(BEHAVIOURS) if behaviour == "all" else (behaviour,)
    for number in range(6):
        random = Random(f"{behaviour} {number}")
        plan = draw(random.randrange(10**6), (7,) if number == 5 else (4,))
        f = (plan.n - 1) // 3
        liars = dict.fromkeys(random.sample(range(plan.n), f), names)
        faults = {} if number % 2 else plan.faults
        plan = replace(plan, liars=liars, amnesiacs=(), faults=faults, unkind_ms=min(plan.unkind_ms, 5000))
        outcome = Simulation(plan).run()
        assert outcome.violation is None, f"{plan}: {outcome.violation}"


@pytest.mark.covers("R17", "K10")
def test_a_seed_is_one_run() -> None:
    """The same seed gives the same trace, here again and in processes that hash otherwise."""
    seeds = (3, 11, 21)
    here = [play(draw(seed)).trace for seed in seeds]
    assert here == [play(draw(seed), remember=100).trace for seed in seeds], "looking on changes nothing"
    assert len(set(here)) == len(seeds)
    script = f"from simulations.campaign import outcomes; print(*[o.trace for o in outcomes({seeds})])"
    for hash_seed in ("0", "1", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, cwd=HERE.parent.parent, capture_output=True, check=True
        )
        assert done.stdout.decode().split() == here, f"PYTHONHASHSEED={hash_seed} changes the run"


def test_one_seed_in_twenty_has_real_signatures() -> None:
    """The modelled signatures stand for Ed25519: the same plan is as safe and as live with the real ones."""
    assert [seed for seed in range(60) if draw(seed).real_crypto] == [0, 20, 40]
    for real_crypto in (True, False):
        with patch.object(ed25519, "verify", side_effect=ed25519.verify) as verified:
            outcome = play(replace(draw(20), real_crypto=real_crypto))
        assert outcome.violation is None
        assert outcome.height > 0
        assert bool(verified.call_count) == real_crypto


@pytest.mark.covers("R17", "K10")
def test_a_seed_that_is_two_runs_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`swarm --twice` compares, and a run that depends on what was before it fails."""
    assert main(["swarm", "--seeds", "3..4", "--n", "4", "--twice"]) == 0
    assert "2/2 seeds twice, 0 violations" in capsys.readouterr().out
    traces = iter(("first", "second", "third"))
    with patch.object(World, "trace", lambda self: next(traces)):
        assert main(["swarm", "--seeds", "3", "--n", "4", "--twice"]) == 1
    assert "seed 3: one-run: traces first and second" in capsys.readouterr().out


def test_a_campaign_that_does_less_than_it_states_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """A seed that decides nothing is a failure, whatever the judges say."""
    nothing = replace(play(draw(3, (4,))), height=0)
    with patch.object(campaign, "play", lambda plan, remember=0: nothing):
        assert main(["swarm", "--seeds", "3", "--n", "4"]) == 1
    assert "seed 3: idle: less was done than a seed stands for: 0 blocks" in capsys.readouterr().out


def test_the_command_measures_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """`bench` counts what was handed to replicas, and what it cost; --strict asks for the targets."""
    with patch.object(bench, "SEEDS", range(2)):
        assert main(["bench", "--seconds", "2", "--runs", "1"]) == 0
        told = capsys.readouterr().out
        with patch.object(bench, "DELIVERIES_A_SECOND", 10**9):
            assert main(["bench", "--seconds", "2", "--runs", "1", "--strict"]) == 1
            assert "MISSED" in capsys.readouterr().out
    (row,) = (line.split() for line in told.splitlines() if line.startswith("n=4"))
    # 27 frames a decision (3 PRE-PREPAREs, 12 PREPAREs, 12 COMMITs) and a STATUS of each to each in 200 ms.
    deliveries = int(row[7])
    assert 10 * 27 <= deliveries <= 10 * 27 + 12 * 14


def test_the_command_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 and a line of progress; `replay` and `run` tell the story of one run."""
    assert main(["swarm", "--seeds", "0..2", "--n", "4"]) == 0
    assert "3/3 seeds, 0 violations" in capsys.readouterr().out
    assert main(["replay", "5"]) == 0
    told = capsys.readouterr().out
    assert "the world becomes kind" in told
    assert "nothing was violated" in told
    assert main(["run", "power-cut"]) == 0
    told = capsys.readouterr().out
    assert "crashes" in told
    assert told.endswith("power-cut: safe, and everything that was asked for is done\n")
    assert main(["run", "power-cut", "--quiet"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_the_command_tells_a_violation(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, the property, and what broke it: here a replica that certifies with too few votes."""
    with patch.object(quorums, "quorum", lambda n: 2 * quorums.max_faulty(n)):
        assert main(["run", "two-quorums", "--quiet"]) == 1
        assert "two-quorums: VIOLATED" in capsys.readouterr().out
        assert main(["replay", "1", "--n", "4"]) == 1
        assert "VIOLATED" in capsys.readouterr().out.splitlines()[-1]


def test_the_command_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Every scenario and adversary, with what it is and what it attacks."""
    assert main(["list"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in [*names(), *BEHAVIOURS, TWINS])
    assert told.count(" attacks ") == len(names()) + len(BEHAVIOURS) + 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["swarm", "--seeds", "9..3"], "write the lower one first"),
        (["swarm", "--seeds", "some"], "is not of the form 1..200"),
        (["swarm", "--n", "3"], "fewer than 4 members"),
        ([], "COMMAND"),
    ],
)
def test_a_wrong_word_is_one_line(wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Usage and what is wrong, exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
