"""A glance: the tests that are about a bug (`seen_by`), alone, in a child of this process that has the bug in it.

It says that the bug is seen, in a twentieth of the time that a hunt takes, and nothing of how soon a hunt sees it.
"""

import os
import re
import resource
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from tests.exam import in_process
from tests.exam.hunting import Answer, judge_of
from tests.exam.planting import CHECKOUT, Patch

GLANCE = "a glance"
CPU_MAX_S = 60
"""A child that has used so much has seen nothing: it is ended."""

QUIET = ("-x", "-q", "-p", "no:cacheprovider", "-p", "tests.quick_first")

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)


class Unplayable(Exception):
    """A bug that changes no function, so that it cannot be had for a moment: it has to be hunted."""


def warm(bugs: Sequence[Patch]) -> None:
    """Import what the tests that are about these bugs need; children have it then."""
    files = sorted({bug.seen_by.split("::")[0] for bug in bugs})
    with tempfile.TemporaryFile() as nowhere:
        child_says = os.dup(1)
        os.dup2(nowhere.fileno(), 1)
        try:
            pytest.main([*QUIET, "--collect-only", *files])
        finally:
            os.dup2(child_says, 1)
            os.close(child_says)


def glance(bug: Patch) -> Answer:
    """Play the tests that are about this bug. Raises BadPatch and Unplayable."""
    assert bug.seen_by, "tests are about it"
    began = time.monotonic()
    with tempfile.TemporaryFile() as said, ExitStack() as planted:
        try:
            planted.enter_context(in_process.plant(bug))
        except AssertionError as nothing:
            raise Unplayable(str(nothing)) from None
        pid = os.fork()
        if not pid:
            _play(bug, said.fileno())
        _, _, used = os.wait4(pid, 0)
        said.seek(0)
        text = said.read().decode(errors="replace")
    failed = _FAILED.search(text)
    test, judge = (failed[1], judge_of(text)) if failed else ("", "")
    cpu_s, seconds = used.ru_utime + used.ru_stime, time.monotonic() - began
    return Answer(bug.digest, bool(test), round(seconds, 1), 0.0, round(cpu_s, 1), GLANCE, test, judge)


def _play(bug: Patch, said: int) -> None:
    """In the child, which ends here."""
    code = 70
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_MAX_S, CPU_MAX_S))
    try:
        for stream in (1, 2):
            os.dup2(said, stream)
        os.chdir(CHECKOUT)
        code = int(pytest.main([*QUIET, bug.seen_by]))
    finally:
        os._exit(code)
