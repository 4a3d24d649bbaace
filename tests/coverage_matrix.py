"""A pytest plugin that writes down which ids of docs/faults.md were shown by tests that ran and passed.

`python -m simulations coverage` makes the matrix of it. Scenarios that a test has played count by their own names.
"""

from collections.abc import Generator

import pytest

from simulations import catalogue, coverage


class Executed:
    """Notes the marks of tests that passed; a test of several cases counts when one of its cases has."""

    def __init__(self) -> None:
        self.claims: dict[coverage.Claim, None] = {}
        self.failed: dict[str, None] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        name = item.nodeid.split("[")[0]
        if report.failed:
            self.failed[name] = None
        elif report.when == "call" and report.passed:
            self.claims |= {(fault, name): None for marker in item.iter_markers("covers") for fault in marker.args}
        return report

    def pytest_sessionfinish(self) -> None:
        held = [claim for claim in self.claims if claim[1] not in self.failed]
        coverage.record([*held, *catalogue.played()])
