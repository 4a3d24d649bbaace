"""For pytest under mutmut: which tests first, no more of them than a survivor may cost, and nothing beside them.

mutmut hands over every test that calls the function, in no order. Whatever kills a mutant mostly does so in the first
second; to play all others for each survivor would cost days. A mutant that lives for BUDGET_S counts as alive.
"""

import json
import os
import sys
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import pytest

from tests.coverage_matrix import Executed

BUDGET_S = 6.0
"""Of the tests' own durations, as they were when mutmut measured them."""

STATISTICS = "mutmut-stats.json"

BUDGET = "MUTANT_BUDGET_S"
"""Where `./scripts/mutants` says so, if it is another budget."""

ACTIVE = "MUTANT_UNDER_TEST"
"""Where mutmut says which mutant a run is about."""


Order = Callable[[str], tuple[bool, float, str]]


def order(function: str, seconds: Mapping[str, float]) -> Order:
    """How tests are sorted for a function, or a mutant, by mutmut's name: those of its module's own file come first
    (bftnode.replica.watch: tests/replica/test_watch*), of these and of all others the quickest."""
    module, _, _ = function.rpartition(".")
    folder, _, name = module.removeprefix("bftnode.").rpartition(".")
    own = f"tests/{folder.replace('.', '/')}/test_{name}"
    return lambda test: (not test.startswith(own), seconds.get(test, 0.0), test)


def shorten(statistics: Path, budget_s: float = BUDGET_S) -> None:
    """Leave to each function the tests that are played for it, where mutmut has measured them: a run of a mutant does
    not even look for the others. Beside it stands what all of them are, for another budget."""
    if not statistics.exists():
        return
    measured = json.loads(statistics.read_text(encoding="utf-8"))
    whole = statistics.with_name(f"whole-{statistics.name}")
    known = json.loads(whole.read_text(encoding="utf-8")) if whole.exists() else {}
    seconds, tests = measured["duration_by_test"], measured["tests_by_mangled_function_name"]
    for function, names in tests.items():
        known[function] = sorted(name for name in {*names, *known.get(function, ())} if name in seconds)
        soonest = sorted(known[function], key=order(function, seconds))
        tests[function] = soonest[: affordable([seconds[name] for name in soonest], budget_s)]
    whole.write_text(json.dumps(known), encoding="utf-8")
    statistics.write_text(json.dumps(measured), encoding="utf-8")


def affordable(seconds: Sequence[float], budget_s: float) -> int:
    """How many of these tests the budget is for: one at least."""
    return max(1, bisect_right(list(accumulate(seconds)), budget_s))


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Leave out what each of ten thousand runs would pay for. Nobody makes a matrix of what a mutant has executed; and
    which mutant a run is about, which mutmut asks the environment in every call, is asked once."""
    for plugin in config.pluginmanager.get_plugins():
        if isinstance(plugin, Executed):
            config.pluginmanager.unregister(plugin)
    trampoline = sys.modules.get("mutmut.mutation.trampoline")
    if trampoline is not None:
        active = os.environ.get(ACTIVE, "")
        vars(trampoline)["get_mutant_under_test"] = lambda: active


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort, and leave out what is beyond the budget. Without mutmut's statistics (it is measuring) nothing is done."""
    statistics = Path(STATISTICS)
    if not statistics.exists() or config.option.collectonly:
        return
    seconds = json.loads(statistics.read_text(encoding="utf-8"))["duration_by_test"]
    first = order(os.environ.get(ACTIVE, ""), seconds)
    items.sort(key=lambda item: first(item.nodeid))
    budget_s = float(os.environ.get(BUDGET, BUDGET_S))
    kept = affordable([seconds.get(item.nodeid, 0.0) for item in items], budget_s)
    if dropped := items[kept:]:
        config.hook.pytest_deselected(items=dropped)
        items[:] = items[:kept]
