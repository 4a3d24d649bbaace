"""Lines, clocks and disks that give trouble do what they say, and their damage is found."""

from random import Random

import pytest

from simulations.damage import Damaged, Seals, flipped, torn
from simulations.disks import Disk
from simulations.network import BACKLOG_MS_MAX, Network, Weather
from simulations.node import DISK_RETRY_MS
from simulations.scenarios.stage import Stage
from simulations.world import World


def network(weather: Weather | None = None) -> tuple[World, Network, list[tuple[int, bytes]]]:
    """Two places; what place 1 hears, with the time."""
    world = World("trouble")
    wires = Network(world)
    heard: list[tuple[int, bytes]] = []
    wires.settle_at(0, 0, lambda sender, frame: None, lambda member: None, lambda member: None)
    wires.settle_at(
        1, 1, lambda sender, frame: heard.append((world.now_ms, frame)), lambda member: None, lambda member: None
    )
    wires.weather = weather or Weather(delay_min_ms=1, delay_max_ms=1)
    return world, wires, heard


@pytest.mark.covers("W19")
def test_a_clog_delivers_nothing_and_then_everything() -> None:
    """What is sent before and while it lasts comes when it ends; the other way too."""
    world, wires, heard = network()
    wires.send(0, 1, b"before")
    wires.clog([0], [1], 500)
    world.run(300)
    wires.send(0, 1, b"while")
    world.run(499)
    assert heard == []
    world.run(600)
    assert sorted(heard) == [(500, b"before"), (500, b"while")]
    wires.send(0, 1, b"after")
    world.run(700)
    assert heard[-1] == (601, b"after")


@pytest.mark.covers("W20")
def test_a_narrow_line_sends_one_frame_after_the_other() -> None:
    """64 kbit/s are 8 bytes a ms; what waits longer than an outbox holds is lost, and a wide line is one again."""
    world, wires, heard = network()
    wires.kbit_s[0] = 64
    for _ in range(3):
        wires.send(0, 1, bytes(800))
    world.run(10_000)
    assert [ms for ms, _ in heard] == [101, 201, 301]
    heard.clear()
    for _ in range(100):
        wires.send(0, 1, bytes(800))
    world.run(30_000)
    assert len(heard) == BACKLOG_MS_MAX // 100 + 1, "the rest is lost"
    heard.clear()
    wires.heal()
    wires.send(0, 1, bytes(800))
    world.run(31_000)
    assert heard


def test_a_long_tail_is_long_and_mostly_short() -> None:
    """An exponential part: its mean is what was asked for, and one in a hundred is more than four times that."""
    world, wires, heard = network(Weather(1, 1, tail_ms=100))
    for _ in range(2000):
        wires.send(0, 1, b"")
    world.run(10_000)
    delays = sorted(ms for ms, _ in heard)
    assert 80 < sum(delays) / 2000 < 120
    assert delays[1000] < 80
    assert delays[1980] > 400


@pytest.mark.covers("T03")
@pytest.mark.parametrize(("ppm", "after_a_minute"), [(50_000, 63_000), (-50_000, 57_000), (0, 60_000)])
def test_a_clock_drifts(ppm: int, after_a_minute: int) -> None:
    """Five percent of a minute are three seconds; what it showed before stays."""
    stage = Stage()
    node = stage.nodes[2]
    stage.run(1000)
    before = node._now()
    node.drift(ppm)
    assert node._now() == before
    stage.run(60_000)
    assert node._now().monotonic_ms - before.monotonic_ms == after_a_minute
    assert node._now().wall_ms - before.wall_ms == after_a_minute


def filled() -> Disk:
    """A disk with a journal, a log and a state."""
    stage = Stage()
    for _ in range(5):
        stage.submit()
        stage.run(100)
    stage.nodes[1].stop()
    return stage.nodes[1].disk


@pytest.mark.covers("D06")
@pytest.mark.parametrize("database", ["journal", "state", "log"])
def test_a_flipped_bit_is_found(database: str) -> None:
    """Wherever it is: at start, or when the block is read; what was not damaged is read as before."""
    disk = filled()
    disk.recover()
    for place in disk.places(database)[-1:]:
        disk.flip(place, Random(database))
    with pytest.raises(Damaged, match=f"^{database}/"):
        disk.recover()


@pytest.mark.covers("D06")
def test_a_block_that_rotted_is_given_to_nobody() -> None:
    """Neither alone nor in a run."""
    disk = filled()
    block = disk.log[2][0].hash
    disk.flip(("log", "2"), Random(1))
    assert disk.recover().head.seq == 5, "only the head of the log is looked at when it starts"
    with pytest.raises(Damaged):
        disk.read_block(block)
    with pytest.raises(Damaged):
        disk.read_run(1, 100)
    assert disk.read_run(3, 100) is not None


@pytest.mark.covers("D14")
@pytest.mark.parametrize("database", ["journal", "state"])
def test_a_misdirected_write_is_found(database: str) -> None:
    """A record says whose place it is for, even where two records hold the same."""
    for number in range(10):
        disk = filled()
        source, target = Random(number).sample(disk.places(database), 2)
        disk.misdirect(source, target)
        with pytest.raises(Damaged):
            disk.recover()


@pytest.mark.covers("D03")
def test_a_torn_write_takes_the_machine_with_it_and_is_found() -> None:
    """The half is on the disk; the node does not come back on it; the others go on, and a copy of it is as bad."""
    stage = Stage(faulty=(1,))
    stage.submit()
    stage.run(200)
    node = stage.nodes[1]
    node.disk.tear_next(Random(5))
    stage.submit()
    stage.run(200)
    assert not node.up
    node.start()
    assert not node.up
    assert "checksum" in node.refused
    image = node.disk.image()
    node.disk.wipe()
    node.disk.put_back(image)
    node.start()
    assert node.refused
    stage.submit()
    stage.expect_height(3, 0, 2, 3)


@pytest.mark.covers("D06")
def test_a_record_that_is_written_anew_is_whole() -> None:
    """What lies over the damage is not damaged."""
    seals = Seals()
    seals.keep(("journal", "boot"), b"before")
    with pytest.raises(Damaged):
        seals.check(("journal", "boot"), b"bexore")
    seals.check(("journal", "boot"), b"before")
    seals.rewritten(("journal", "boot"))
    seals.check(("journal", "boot"), b"after")


def test_damage_is_what_its_name_says() -> None:
    """One bit; or a beginning with nothing behind it."""
    dice = Random(3)
    for _ in range(50):
        value = dice.randbytes(dice.randint(1, 20))
        changed = int.from_bytes(value) ^ int.from_bytes(flipped(value, dice))
        assert changed.bit_count() == 1
        half = torn(value, dice)
        kept = next((at for at in range(len(value)) if value[at] != half[at]), len(value))
        assert len(half) == len(value)
        assert half[kept:] == bytes(len(value) - kept)
    assert flipped(b"", dice) == b"\x01"


@pytest.mark.covers("D04")
def test_a_full_disk_promises_nothing_until_there_is_room() -> None:
    """No vote leaves while it is full; with room the same turn is written, and it goes on without a restart."""
    stage = Stage()
    stage.submit()
    stage.expect_height(1)
    node = stage.nodes[2]
    node.disk.full = True
    journal = dict(node.disk.journal)
    life = node.life
    for _ in range(4):
        stage.submit()
        stage.run(100)
    assert node.disk.journal == journal
    assert node.disk.height == 1
    stage.expect_height(4, 0, 1, 3)
    node.disk.full = False
    stage.run(DISK_RETRY_MS)
    stage.expect_height(5, 2)
    assert node.life == life


def test_a_node_with_a_full_disk_stops_as_if_it_crashed() -> None:
    """There is no room for its last word."""
    stage = Stage()
    stage.nodes[2].disk.full = True
    stage.nodes[2].stop()
    assert not stage.nodes[2].up
    assert "closed" not in stage.nodes[2].disk.journal
    stage.nodes[3].stop()
    assert "closed" in stage.nodes[3].disk.journal
