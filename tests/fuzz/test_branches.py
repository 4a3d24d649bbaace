"""The kept inputs reach the branches of readers and judges; and what is measured can fall."""

import pytest

from nights.fuzz import branches
from nights.fuzz.branches import AT_LEAST, Measured, measure, share, table


def test_the_kept_inputs_reach_the_branches() -> None:
    """Measured by coverage.py, in a run of its own."""
    measured = measure()
    assert share(measured) >= AT_LEAST, table(measured)
    assert sum(one.branches for one in measured) > 700, "what was to be measured is gone"


def test_a_file_that_nobody_reaches_is_seen() -> None:
    """It counts with all of its branches."""
    measured = [Measured("a.py", 98, 98, []), Measured("b.py", 4, 0, [(1, 2), (1, -3), (5, 6), (5, 8)])]
    assert share(measured) == 98 / 102 < AT_LEAST
    assert "b.py" in table(measured)
    assert "1->2, 1->end" in table(measured)


def test_a_function_that_was_renamed_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is chosen by name would otherwise fall out of the sum."""
    monkeypatch.setitem(branches.ONLY, "apps/kv.py", ("open_nothing",))
    with pytest.raises(AssertionError, match="renamed"):
        branches._of("apps/kv.py", {"open_operation": {}})
