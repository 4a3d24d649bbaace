"""For pytest under mutmut: the quickest tests first, no more of them than a survivor may cost, and nothing beside them.

mutmut hands over every test that calls the function, in no order. Whatever kills a mutant mostly does so in the first
second; to play all others for each survivor would cost days. A mutant that lives for BUDGET_S counts as alive.
"""

import json
import os
import sys
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import pytest

from tests.coverage_matrix import Executed

BUDGET_S = 6.0
"""Of the tests' own durations, as they were when mutmut measured them."""

STATISTICS = "mutmut-stats.json"


def shorten(statistics: Path) -> None:
    """Leave to each function the tests that are played for it, where mutmut has measured them: a run of a mutant does
    not even look for the others."""
    if not statistics.exists():
        return
    measured = json.loads(statistics.read_text(encoding="utf-8"))
    seconds, tests = measured["duration_by_test"], measured["tests_by_mangled_function_name"]
    for function, names in tests.items():
        quickest = sorted(names, key=lambda name: (seconds.get(name, 0.0), name))
        tests[function] = quickest[: affordable([seconds.get(name, 0.0) for name in quickest])]
    statistics.write_text(json.dumps(measured), encoding="utf-8")


def affordable(seconds: Sequence[float]) -> int:
    """How many of these tests the budget is for: one at least."""
    return max(1, bisect_right(list(accumulate(seconds)), BUDGET_S))


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Leave out what each of ten thousand runs would pay for. Nobody makes a matrix of what a mutant has executed; and
    which mutant a run is about, which mutmut asks the environment in every call, is asked once."""
    for plugin in config.pluginmanager.get_plugins():
        if isinstance(plugin, Executed):
            config.pluginmanager.unregister(plugin)
    trampoline = sys.modules.get("mutmut.mutation.trampoline")
    if trampoline is not None:
        active = os.environ.get("MUTANT_UNDER_TEST", "")
        vars(trampoline)["get_mutant_under_test"] = lambda: active


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort, and leave out what is beyond the budget. Without mutmut's statistics (it is measuring) nothing is done."""
    statistics = Path(STATISTICS)
    if not statistics.exists() or config.option.collectonly:
        return
    seconds = json.loads(statistics.read_text(encoding="utf-8"))["duration_by_test"]
    items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))
    kept = affordable([seconds.get(item.nodeid, 0.0) for item in items])
    if dropped := items[kept:]:
        config.hook.pytest_deselected(items=dropped)
        items[:] = items[:kept]
