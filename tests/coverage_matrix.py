"""Which faults are named by which tests and scenarios: `python -m tests.coverage_matrix [--missing]`.

Tests name them with `@pytest.mark.covers("W10")`, scenarios with `covers = ("W10",)`. Nothing is executed; this says
what is claimed, the test run says whether it holds.
"""

import ast
import contextlib
import io
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import FAULTS

ROOT = Path(__file__).parent.parent


class Collected:
    """A pytest plugin that notes the marks of what is collected and prints nothing."""

    def __init__(self) -> None:
        self.claims: list[tuple[str, str]] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            name = item.nodeid.split("[")[0]
            self.claims += [(fault, name) for marker in item.iter_markers("covers") for fault in marker.args]


def claims_of_tests() -> list[tuple[str, str]]:
    plugin, said = Collected(), io.StringIO()
    with contextlib.redirect_stdout(said):
        outcome = pytest.main(["--collect-only", "-q", str(ROOT / "tests")], plugins=[plugin])
    if outcome not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        sys.exit(f"{said.getvalue()}\nthe tests cannot be collected")
    return plugin.claims


def claims_of_scenarios() -> Iterator[tuple[str, str]]:
    """`covers = (...)` as an assignment or as a keyword, anywhere under simulations/."""
    for path in sorted((ROOT / "simulations").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            keyword = isinstance(node, ast.keyword) and node.arg == "covers"
            assigned = isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["covers"]
            for constant in ast.walk(node) if keyword or assigned else ():
                if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                    yield constant.value, str(path.relative_to(ROOT))


def claims_of_stories() -> Iterator[tuple[str, str]]:
    """`covers = [...]` of the scenarios in files, each of which tests/simulation/test_stories.py plays."""
    for path in sorted((ROOT / "simulations" / "scenarios").glob("*.toml")):
        for fault in tomllib.loads(path.read_text(encoding="utf-8"))["covers"]:
            yield fault, str(path.relative_to(ROOT))


def main(arguments: list[str]) -> None:
    matrix: dict[str, set[str]] = {fault: set() for fault in sorted(FAULTS, key=_order)}
    for fault, name in [*claims_of_tests(), *claims_of_scenarios(), *claims_of_stories()]:
        if fault not in matrix:
            sys.exit(f"{name} names {fault}, which tests/faults.txt does not have")
        matrix[fault].add(name)
    for fault, names in matrix.items():
        if "--missing" in arguments:
            if not names:
                print(fault)
        else:
            print(f"{fault:4} {', '.join(sorted(names)) or '-'}")
    named = sum(1 for names in matrix.values() if names)
    print(f"{named} of {len(matrix)} are named", file=sys.stderr)


def _order(fault: str) -> tuple[str, int]:
    return fault[0], int(fault[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
