"""Goodput under a primary that delays, against that of the same run before it did; and that nobody else is troubled."""

from dataclasses import replace

import pytest

from simulations.adversaries.complainer import Complainer
from simulations.network import FAIR, Weather
from simulations.scenarios import slow_primaries
from simulations.scenarios.slow_primaries import KEPT, Came, Scene, delayed, greedy
from simulations.simulation import QUICK

TIMEOUT_MS = QUICK.view_change_timeout_ms


def nothing() -> None:
    """The world stays as it is."""


@pytest.mark.covers("N04", "P30")
def test_the_scenario() -> None:
    """Each proposal 0.95 timeouts late."""
    slow_primaries.play()


@pytest.mark.covers("N04", "P30")
@pytest.mark.parametrize(
    ("n", "lags_ms"),
    [
        (4, (TIMEOUT_MS * 8 // 10,)),
        (4, (40,)),
        (4, (4, 200)),
        (4, (4, 4, 4, 400)),
        (4, (0, 20, 40, 80, 160, 320)),
        (7, (40,)),
        (7, (4, 4, 4, 400)),
    ],
)
def test_delays_of_all_kinds_cost_little(n: int, lags_ms: tuple[int, ...]) -> None:
    """Steady, alternating, now and then, growing: the primary is replaced, and never comes back."""
    came = delayed(lags_ms, n)
    assert came.kept >= KEPT
    assert came.replaced == (0,)
    assert came.view == 1


@pytest.mark.covers("N04", "P30")
def test_the_best_delay_there_is_costs_little() -> None:
    """A greedy attacker, who has tried all delays around what a backup allows, and takes the one that pays most. One of
    them is never found out."""
    lag_ms, came = greedy((4, 6, 7, 10))
    assert came.kept >= KEPT, f"{lag_ms} ms"
    assert delayed((4,)).replaced == ()


@pytest.mark.covers("P31")
@pytest.mark.parametrize("n", [4, 7])
def test_proposing_little_costs_little(n: int) -> None:
    """One envelope a block, at once, whatever waits."""
    came = delayed((0,), n, few=1)
    assert came.kept >= KEPT
    assert came.replaced == (0,)


@pytest.mark.covers("N04", "P30")
def test_without_the_watch_it_would_cost_nearly_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measure measures."""
    monkeypatch.setattr("bftnode.replica.watch.Watch.look", lambda self: None)
    assert delayed((300,)).kept < 0.2
    assert delayed((0,), few=1).kept < 0.6


@pytest.mark.covers("N19", "P30")
@pytest.mark.parametrize("n", [4, 7])
def test_f_liars_that_complain_all_the_time_cost_little(n: int) -> None:
    """They move nobody; now and then they are granted what each of them could have by asking for a view."""
    liars = (n - 1) // 3
    scene = Scene(n, liars={n - 1 - number: [] for number in range(liars)})

    def begin() -> None:
        for node in scene.stage.nodes[n - liars :]:
            node.become([Complainer(scene.stage.world.random(node.name))])  # type: ignore[attr-defined]  # a Liar

    came = scene.measure(begin)
    assert came.kept >= 0.9
    assert came.replaced == ()
    assert came.view <= 1 + slow_primaries.ATTACK_MS // QUICK.courtesy_interval_ms


@pytest.mark.covers("N04", "A03")
@pytest.mark.parametrize("n", [4, 7])
def test_clients_that_withhold_from_the_primary_frame_nobody(n: int) -> None:
    """Every second caller tells everybody else; backups tell the primary."""
    came = Scene(n, tells=lambda number: range(number % 2, n)).measure(nothing)
    assert (came.view, came.replaced) == (0, ())


@pytest.mark.covers("N19", "N04")
@pytest.mark.parametrize("member", [0, 3])
def test_an_honest_member_with_a_slow_line_is_no_storm(member: int) -> None:
    """As a backup it is nobody's trouble; as the primary it is replaced once, and that is worth it."""
    scene = Scene()

    def begin() -> None:
        slow = Weather(delay_min_ms=60, delay_max_ms=80)
        for other in range(4):
            if other != member:
                scene.stage.network.own_weather |= {(member, other): slow, (other, member): slow}

    came = scene.measure(begin)
    assert came.replaced == ((0,) if member == 0 else ())
    assert came.view <= 1
    assert came.kept >= KEPT


SLOW_WORLD = replace(QUICK, view_change_timeout_ms=2000, view_change_timeout_max_ms=8000)


def world(weather: Weather) -> Came:
    scene = Scene(timing=SLOW_WORLD)

    def begin() -> None:
        scene.stage.network.weather = weather

    return scene.measure(begin, 40_000)


@pytest.mark.covers("N19", "P19", "W19")
@pytest.mark.parametrize(
    "weather",
    [
        Weather(delay_min_ms=200, delay_max_ms=200),
        Weather(delay_min_ms=100, delay_max_ms=300),
        replace(FAIR, tail_ms=30),
        replace(FAIR, spike=0.05, spike_ms=300),
    ],
    ids=["far", "uneven", "long tails", "spikes"],
)
def test_a_slow_world_is_no_primarys_fault(weather: Weather) -> None:
    """Rounds take longer, and so may proposals; at most f findings of each of three backups are not the world's."""
    came = world(weather)
    assert came.view <= 3
    assert len(came.replaced) <= 3
