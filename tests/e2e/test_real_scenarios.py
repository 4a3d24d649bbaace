"""Scenario files on real processes (theatre/): some of them hold, and false ones fail.

`python -m simulations run --all --real` plays all of them; these few are what every change has to pass.
"""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from simulations.catalogue import SCRIPTS
from simulations.script import Expect, LiarScript, Script, Step, load
from tests.e2e.cluster import processes_in
from theatre.command import play, run_real

DEADLINE_S = 60.0
PLAIN = Script(story="Two records.", covers=(), step=(Step(at_ms=100, do="submit", count=2),))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("silent-primary", marks=pytest.mark.covers("N03", "P16")),
        pytest.param("equivocating-primary", marks=pytest.mark.covers("N01", "N11", "O12")),
        pytest.param("minority-cut-off", marks=pytest.mark.covers("W17", "P17")),
        pytest.param("paused-primary", marks=pytest.mark.covers("T04", "V15")),
        pytest.param("disk-wiped", marks=pytest.mark.covers("D08", "K12")),
        pytest.param("client-equivocates", marks=pytest.mark.covers("A01", "A02")),
        pytest.param("client-jumps", marks=pytest.mark.covers("A06", "R11")),
        pytest.param("retransmission-storm", marks=pytest.mark.covers("A04", "R10")),
        pytest.param("half-valid-envelopes", marks=pytest.mark.covers("A03", "A05")),
        pytest.param("bit-rot-in-the-journal", marks=pytest.mark.covers("D06", "P13")),
        pytest.param("misdirected-write", marks=pytest.mark.covers("D14")),
    ],
)
def test_a_scenario_holds_on_real_processes(name: str) -> None:
    """Daemons, TLS, LMDB and the client library: everything acknowledged once, in equal logs that verify."""
    seen = play(name, load(SCRIPTS / f"{name}.toml"))
    assert seen.verdict == "held", seen


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (replace(PLAIN, expect=Expect(view_at_least=5)), "the highest view is 0"),
        (
            replace(PLAIN, liars={3: LiarScript(("silent",))}, expect=Expect(accused=(3,))),
            r"accused are [], not [3]",
        ),
        (
            replace(PLAIN, step=(*PLAIN.step, Step(at_ms=500, do="height at most", height=0))),
            "was reached where 0 was the most",
        ),
        (
            replace(PLAIN, step=(Step(at_ms=0, do="crash", members=(0, 1)), *PLAIN.step), expect=Expect(within_ms=500)),
            "liveness: 0 of 2 are acknowledged in time",
        ),
        (
            replace(PLAIN, step=(*PLAIN.step, Step(at_ms=500, do="refused", members=(2,)))),
            "n2 does not refuse its disk",
        ),
    ],
    ids=["view", "accused", "height", "liveness", "refused"],
)
def test_a_false_expectation_fails(script: Script, words: str) -> None:
    """Each kind of expectation can fail, and says what was seen instead."""
    seen = play("false", script)
    assert seen.failed
    assert words in seen.verdict, seen


def test_what_has_no_meaning_there_is_told_and_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """A scenario whose words have no form is not played, and neither is a schedule in Python."""
    assert run_real(["clocks-jump", "power-cut"], everything=False, quiet=True) == 0
    told = capsys.readouterr().out
    assert "the members of one machine have one clock" in told
    assert "it is a schedule in Python" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whoever_interrupts_it_finds_nothing_left_behind(tmp_path: Path, number: signal.Signals) -> None:
    """No process, paused ones included, and no directory."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "simulations", "run", "paused-primary", "--real"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "pause n0" in line:
                break
        assert len(processes_in(tmp_path)) == 4
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == 130
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []
