"""For pytest (`-p tests.quick_first`): examples first, then what takes a hundred times as long.

With BFTNODE_TEST_TIMES, a file, it is written down there how much CPU (s) this process had used when each test ended.
"""

import os
from time import process_time

import pytest

TIMES = os.environ.get("BFTNODE_TEST_TIMES")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Among those of one kind the order stays as it was."""
    items.sort(key=_kind)


def _kind(item: pytest.Item) -> int:
    if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
        return 2
    return int(item.get_closest_marker("long") is not None)


def pytest_runtest_logfinish(nodeid: str) -> None:
    """A line a test; several processes may write into one file."""
    if TIMES is not None:
        with open(TIMES, "a", encoding="utf-8") as file:
            file.write(f"{process_time():.1f} {nodeid}\n")
