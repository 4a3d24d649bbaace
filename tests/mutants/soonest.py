"""For pytest under mutmut: the quickest tests first, no more of them than a survivor may cost, and nothing beside them.

mutmut hands over every test that calls the function, in no order. Whatever kills a mutant mostly does so in the first
second; to play all others for each survivor would cost days. A mutant that lives for BUDGET_S counts as alive.
"""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.coverage_matrix import Executed

BUDGET_S = 12.0
"""Of the tests' own durations, as they were when mutmut measured them."""


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
    statistics = Path("mutmut-stats.json")
    if not statistics.exists() or config.option.collectonly:
        return
    seconds = json.loads(statistics.read_text(encoding="utf-8"))["duration_by_test"]
    items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))
    spent, kept = 0.0, 0
    for item in items:
        spent += seconds.get(item.nodeid, 0.0)
        if kept and spent > BUDGET_S:
            break
        kept += 1
    if dropped := items[kept:]:
        config.hook.pytest_deselected(items=dropped)
        items[:] = items[:kept]
