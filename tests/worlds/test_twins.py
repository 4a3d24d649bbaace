"""Worlds of a member at two places: their number, the symmetry, what is frozen, slices, and bugs that they find."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from bftnode.replica.agreement import Agreement
from bftnode.replica.pool import Pool
from bftnode.replica.view_change import ViewChanges
from simulations.command import main
from simulations.worlds.cast import Cast
from simulations.worlds.frozen import freeze, thaw
from simulations.worlds.partitions import exchanged, partitions
from simulations.worlds.twins import (
    COPY,
    SPAN,
    TWINS,
    TWINS_HELD,
    TWINS_LATE,
    TWINS_LATE_HELD,
    WAYS,
    WORLDS,
    Quintet,
    Twins,
    is_mirrored,
    ways_of,
)
from tests.simulation.test_planted_bugs import Bug, quorum_of_2f, the_lowest_certificate_chosen


def test_all_ways_to_part_five_places_are_there() -> None:
    """Bell's numbers: 52 ways, each once, so 52^3 worlds for each of four twins."""
    assert [len(partitions(count)) for count in range(1, 6)] == [1, 2, 5, 15, 52]
    assert len(set(WAYS)) == 52
    assert WORLDS == 4 * 52**3 == 4 * SPAN
    assert ways_of(0) == (0, (0, 0, 0))
    assert ways_of(WORLDS - 1) == (3, (51, 51, 51))


@pytest.mark.covers("O02", "N01", "N11", "V11", "R13")
@pytest.mark.parametrize("work", [TWINS, TWINS_LATE, TWINS_HELD, TWINS_LATE_HELD], ids=lambda work: work.name)
@pytest.mark.parametrize("first", [57 * 52, 3 * SPAN + 1000 * 52])
def test_a_slice_of_worlds_is_decided(work: Twins, first: int) -> None:
    """No two honest members differ, and what was asked is executed soon after all hear all."""
    done = work.play(first, first + 26)
    assert done.units == 26
    assert not done.findings
    assert done.counts["runs"] == 26, "none of these is another one's mirror image, or one state with it"
    assert done.counts["deliveries"] > 26 * 60


def test_slices_add_up() -> None:
    """A set cut anywhere is the same set; what is mirrored is accounted for."""
    first = 2 * SPAN + 40 * 2704 + 52 * 30 + 40
    whole = TWINS.play(first, first + 24)
    parts = [TWINS.play(first, first + 7), TWINS.play(first + 7, first + 24)]
    for name in ("runs", "mirrored", "merged", "cut off", "contradictions"):
        assert whole.counts[name] == sum(part.counts[name] for part in parts)
    assert sum(not is_mirrored(twin, way) for twin in range(4) for way in WAYS) == 4 * (20 + 32 // 2)
    mirrored = next(way for way in WAYS if is_mirrored(0, way))
    done = TWINS.play(WAYS.index(mirrored) * 2704, WAYS.index(mirrored) * 2704 + 2704)
    assert (done.units, done.counts["runs"], done.counts["mirrored"]) == (2704, 0, 2704)


# ---- the symmetry

Shape = tuple[int, int, tuple[tuple[int, bool, tuple[object, ...]], ...]]


def shape(world: Quintet, *, renamed: bool) -> Shape:
    """What came of a world; `renamed`: with the copies' names, and those of their clients, exchanged."""
    nodes = list(world.nodes)
    if renamed:
        nodes[world.twin], nodes[COPY] = nodes[COPY], nodes[world.twin]
    clients = world.cast.keyring.clients
    last = world.cast.operations[3][0].key

    def name(key: tuple[bytes, int]) -> tuple[int, int]:
        client = clients.index(key[0])
        return client ^ (renamed and key != last), key[1]

    def log(place: int) -> tuple[object, ...]:
        blocks = [block for block, _ in nodes[place].disk.log[1:]]
        opened = [[world.cast.envelopes.open(raw).key for raw in block.transactions] for block in blocks]
        return tuple((block.header.time_ms, *map(name, keys)) for block, keys in zip(blocks, opened, strict=True))

    stand = tuple(
        (node.replica.position.view, node.replica.position.active, log(place)) for place, node in enumerate(nodes)
    )
    return world.rounds.now_ms, world.rounds.delivered, stand


@pytest.mark.parametrize(
    ("work", "twin"), [(TWINS, 1), (TWINS_LATE, 0)], ids=["twins, second leader", "twins-late, first leader"]
)
def test_the_reduced_set_has_all_that_the_full_one_has(work: Twins, twin: int) -> None:
    """Of a smaller set, six partitions over two views, everything is played: but for the copies' names the worlds that
    are not played come to what those come to that are, each to its own image's end."""
    ways = [way for way in WAYS if max(way) == 1 and way[twin] != way[COPY]][:3]
    ways = [both for way in ways for both in (way, exchanged(way, twin, COPY))]
    assert len(set(ways)) == 6
    cast = Cast()

    def come_of(*path: tuple[int, ...]) -> Quintet:
        world = work.begin(cast, twin)
        for way in (*path, WAYS[0]):
            world.view(way)
        world.kind()
        return world

    full, reduced = set(), set()
    for one in ways:
        for other in ways:
            world = come_of(one, other)
            ends = min(shape(world, renamed=False), shape(world, renamed=True))
            full.add(ends)
            if is_mirrored(twin, one):
                image = come_of(exchanged(one, twin, COPY), exchanged(other, twin, COPY))
                assert not is_mirrored(twin, image.ways[0])
                assert shape(world, renamed=True) == shape(image, renamed=False)
            else:
                reduced.add(ends)
    assert full == reduced
    assert len(reduced) > 6


# ---- what is frozen


def test_a_thawed_world_goes_on_as_the_frozen_one() -> None:
    """To the same state, whichever way, and without touching the other."""
    cast = Cast()
    world = TWINS_LATE_HELD.begin(cast, 1)
    world.view(WAYS[7])
    frozen = freeze(world, cast.shared)
    ends = []
    for again in (thaw(frozen), thaw(frozen), world):
        again.rounds.delivered = 0  # what was counted is no part of a state
        again.view(WAYS[11])
        again.kind()
        ends.append(shape(again, renamed=False))
    assert ends[0] == ends[1] == ends[2]
    assert freeze(thaw(frozen), cast.shared).digest == freeze(thaw(frozen), cast.shared).digest


def test_what_differs_has_another_digest() -> None:
    """52 ways to part a view, 52 states: in each of them somebody has heard what nobody has in another."""
    cast = Cast()
    frozen = freeze(TWINS.begin(cast, 3), cast.shared)
    digests = {}
    for way in WAYS:
        world = thaw(frozen)
        world.view(way)
        digests[freeze(world, cast.shared).digest] = way
    assert len(digests) == 52


@pytest.mark.covers("R17")
def test_a_digest_is_the_same_in_every_process() -> None:
    """Sets of bytes and strings stand in another order in each; their state does not."""
    script = (
        "from simulations.worlds.twins import *\n"
        "cast = Cast(); world = TWINS_LATE_HELD.begin(cast, 1)\n"
        "for way in (7, 20, 3): world.view(WAYS[way])\n"
        "assert world.judge.accused, 'accusations are such sets'\n"
        "print(freeze(world, cast.shared).digest.hex())"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert len(said[0].strip()) == 32


# ---- planted bugs


@contextmanager
def a_later_view_ignored() -> Iterator[None]:
    """TRAP 3: who learns that its view is over goes on in it."""

    def end_view(self: ViewChanges, view: int) -> None:
        pass

    with patch.object(ViewChanges, "end_view", end_view):
        yield


@contextmanager
def proposals_of_a_view_that_is_over_kept() -> Iterator[None]:
    """Who leaves a view takes its proposals along."""

    def leave_view(self: Agreement) -> None:
        pass

    with patch.object(Agreement, "leave_view", leave_view):
        yield


@contextmanager
def custody_that_ends_with_the_view() -> Iterator[None]:
    """What was pending is not proposed in the next view."""
    restart = Pool.restart

    def forget(self: Pool, *arguments: object) -> None:
        restart(self, *arguments)  # type: ignore[arg-type] # handed on
        self._ready = {}

    with patch.object(Pool, "restart", forget):
        yield


PLANTED = [
    pytest.param(quorum_of_2f, 140_891, {"certificate"}, id="quorum of 2f"),
    pytest.param(the_lowest_certificate_chosen, 237_961, {"agreement"}, id="lowest certificate"),
    pytest.param(a_later_view_ignored, 22_533, {"view-over"}, id="certificate of a later view"),
    pytest.param(proposals_of_a_view_that_is_over_kept, 178_624, {"framed"}, id="proposals kept"),
    pytest.param(custody_that_ends_with_the_view, 140_891, {"liveness"}, id="custody ends"),
]


@pytest.mark.covers("P1", "P5", "P10", "P16", "V18")
@pytest.mark.parametrize(("bug", "unit", "names"), PLANTED)
def test_a_world_catches_it(bug: Bug, unit: int, names: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The world that a bug needs is among them; its command tells it; without the bug it is harmless."""
    with bug():
        done = TWINS_LATE.play(unit, unit + 1)
        assert [finding.unit for finding in done.findings] == [unit]
        assert done.findings[0].judge in names
        assert done.findings[0].replay == f"python -m simulations twins --late --unit {unit}"
        assert main(done.findings[0].replay.split()[3:]) == 1
    told = capsys.readouterr().out
    assert "=== the parts of view 0:" in told
    assert f"VIOLATED {done.findings[0].judge}" in told.splitlines()[-1]
    assert not TWINS_LATE.play(unit, unit + 1).findings


def test_the_command_says_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    """A slice by two processes; no slice outside the set."""
    assert main(["twins", "--units", "2700..2708", "--jobs", "2"]) == 0
    assert "twins: 9 of 9 units, 0 violations; 9 runs" in capsys.readouterr().out.splitlines()[-1]
    assert main(["twins", "--unit", str(WORLDS)]) == 2
    assert "0 to 562431" in capsys.readouterr().err
    assert main(["twins", "--units", f"5..{WORLDS}"]) == 2
    assert "0 to 562431" in capsys.readouterr().err
