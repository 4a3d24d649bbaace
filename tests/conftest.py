"""What all tests share: the check that `covers` names faults that exist, and hypothesis without a clock."""

import hypothesis
import pytest

from tests.coverage_matrix import Executed
from tests.faults import FAULTS

# A deadline would make a test of a pure function depend on what else the machine does.
hypothesis.settings.register_profile("bftnode", deadline=None, print_blob=True)
hypothesis.settings.load_profile("bftnode")


def pytest_configure(config: pytest.Config) -> None:
    """What runs and holds is written down for the matrix."""
    config.pluginmanager.register(Executed())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A misspelt id would claim a cover that does not exist."""
    for item in items:
        for marker in item.iter_markers("covers"):
            unknown = [fault for fault in marker.args if fault not in FAULTS]
            if unknown or not marker.args:
                named = ", ".join(unknown) or "nothing"
                raise pytest.UsageError(f"{item.nodeid}: covers({named}): the ids are in tests/faults.txt")
