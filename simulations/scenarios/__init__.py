"""Scenarios: for what dice hardly find, and for what must be shown by name. Each file says what it attacks.

Most are stories in TOML (see script.py). Those in Python need a rule for single messages, or play many variants;
`play` raises Violation where a property does not hold, or where the scenario is not what it says.
"""

from collections.abc import Callable
from typing import Protocol

from simulations.scenarios import (
    amnesia_across_views,
    ancestors_of_the_base,
    censored_and_left_out,
    certificate_of_a_later_view,
    dead_primary,
    eclipsed_client,
    every_crash,
    forgotten_disk,
    lone_replica,
    lowest_certificate,
    no_quorum,
    own_commit,
    power_cut,
    rewritten_history,
    silent_majority,
    slow_primaries,
    split_brain,
    two_quorums,
    withheld_base,
)


class Schedule(Protocol):
    """A module: its docstring tells the story, `covers` names the faults of docs/faults.md."""

    __doc__: str | None
    covers: tuple[str, ...]
    play: Callable[[], object]


SCHEDULES: dict[str, Schedule] = {
    module.__name__.rsplit(".", 1)[-1].replace("_", "-"): module
    for module in (
        amnesia_across_views,
        ancestors_of_the_base,
        censored_and_left_out,
        certificate_of_a_later_view,
        dead_primary,
        eclipsed_client,
        every_crash,
        forgotten_disk,
        lone_replica,
        lowest_certificate,
        no_quorum,
        own_commit,
        power_cut,
        rewritten_history,
        silent_majority,
        slow_primaries,
        split_brain,
        two_quorums,
        withheld_base,
    )
}
