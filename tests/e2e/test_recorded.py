"""Four daemons that record, a kill -9 under load, and the replay: everything that they did, again, bit for bit."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from bftnode.node.identity import load_seed
from bftnode.protocol.envelope import peek_kind
from bftnode.protocol.messages import Kind
from bftnode.replica.agreement import Agreement
from bftnode.replica.events import Received
from bftnode.replica.recording import PREFIX_BYTES, open_turn, prefix_of, size_of
from simulations import incident
from simulations.incident import lives
from simulations.incident.lives import Life, lives_in
from tests.e2e.cluster import Cluster, running
from tests.e2e.test_failures import CALLERS, appending, check

KILLED = 2
EVENTS_LEAST = 500
RECORDING_BYTES_MAX = 64 * 1024 * 1024


def _homes(path: Path) -> list[Path]:
    return [path / f"node{i}" for i in range(4)]


async def _incident(path: Path) -> None:
    """Load, a kill -9 of a backup that comes back, and of the primary, and the end in order."""
    cluster = Cluster(path, application="log", checkpoint_interval=16)
    for i in cluster.members:
        cluster.home(i).config_path.write_text(f"[recording]\nbytes_max = {RECORDING_BYTES_MAX}\n")
    async with running(cluster), cluster.client() as client:
        load = appending(client)
        async with load.calling(CALLERS):
            await load.more(100)
            cluster.kill(KILLED)
            await load.more(100)
            cluster.start(KILLED)
            await load.more(50)
            cluster.kill(0)
            await load.more(50)
            cluster.start(0)
            await load.more(50)
        await check(cluster, load)


@pytest.mark.covers("D01", "R17", "K10", "O02")
async def test_what_was_recorded_is_what_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All steps of all lives are equal, on one timeline; and what is not as it was is shown where it is first seen."""
    await _incident(tmp_path)
    capsys.readouterr()
    homes = _homes(tmp_path)
    assert incident.run(homes, quiet=False, any_code=False) == 0, capsys.readouterr().out[-2000:]
    told = capsys.readouterr().out
    assert "all equal" in told
    assert "no contradiction" in told
    assert "-> all PRE_PREPARE view 0 height 1 " in told
    assert "-> all NEW_VIEW view 1" in told
    assert [len(lives_in(home)) for home in homes] == [2, 1, 2, 1], "a life a start"
    assert sum(map(int, re.findall(r"(\d+) events replayed", told))) >= EVENTS_LEAST
    _kept_secret(homes)
    _cut_off(lives_in(homes[KILLED])[0], capsys)
    _tampered(lives_in(homes[1])[0], capsys)
    _other_code(homes[1], capsys)


def _kept_secret(homes: list[Path]) -> None:
    """Mode 0600, and no key in it."""
    for home in homes:
        keys = [load_seed(home / "secrets" / name) for name in ("signing.key", "log.key")]
        for path in lives_in(home):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            raw = path.read_bytes()
            assert not any(key in raw or key.hex().encode() in raw for key in keys)


def _cut_off(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A last record that broke off is dropped, with a note."""
    copy = path.parent.parent / "cut" / path.name
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes()[:-3])
    assert incident.run([copy.parent], quiet=True, any_code=False) == 0
    assert "its last record broke off" in capsys.readouterr().out


def _tampered(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A byte that was changed is found by its checksum; with the checksum made good, by what follows from it."""
    copy = path.parent.parent / "tampered" / path.name
    copy.parent.mkdir()
    raw, chain_id = path.read_bytes(), Life(path).members.chain_id
    bodies = list(_bodies(raw))
    place, frame = next(
        (place, step.event.frame)
        for place, body in enumerate(bodies[2:], 2)
        for step in open_turn(body, chain_id).steps
        if isinstance(step.event, Received) and peek_kind(step.event.frame) == Kind.STATUS
    )
    other = frame[:-1] + bytes((frame[-1] ^ 1,))  # its signature is none any more
    changed = bodies[place].replace(frame, other)
    at = sum(PREFIX_BYTES + len(body) for body in bodies[:place])
    for prefix, expected in (
        (raw[at : at + PREFIX_BYTES], f"damaged at byte {at}, turn {place - 2}"),
        (prefix_of(changed), f"the first difference is in turn {place - 2}, event "),
    ):
        copy.write_bytes(raw[:at] + prefix + changed + raw[at + PREFIX_BYTES + len(changed) :])
        assert incident.run([copy.parent], quiet=True, any_code=False) == 1
        assert expected in capsys.readouterr().out


def _bodies(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        size = size_of(raw[at : at + PREFIX_BYTES])
        yield raw[at + PREFIX_BYTES : at + PREFIX_BYTES + size]
        at += PREFIX_BYTES + size


def _other_code(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording of other code is refused with a sentence, and where it is replayed all the same, the first step that
    comes to something else is shown."""
    with patch.object(lives, "code_here", lambda: bytes(32)):
        assert incident.run([home], quiet=True, any_code=False) == 2
        assert "see with --any-code where this code parts from it" in capsys.readouterr().err
        assert incident.run([home], quiet=True, any_code=True) == 0
        # A replica that makes every PREPARE durable before it speaks.
        with patch.object(Agreement, "_vouch", lambda self, view: (view, 0)):
            assert incident.run([home], quiet=True, any_code=True) == 1
    told = capsys.readouterr().out
    assert "the first difference is in turn " in told
    assert "expected Persist Broadcast" in told or "; got " in told
    assert "here: writes prepare\n" in told, "what it does instead"
