"""Keys are made once for all tests of the room; the log is read by each test for itself."""

from collections.abc import Iterator

import pytest
import structlog

from tests.api.town import Town
from tests.net.members import Said


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town(tmp_path_factory.mktemp("town"))


@pytest.fixture
def said() -> Iterator[Said]:
    said = Said()
    structlog.configure(processors=[said])
    yield said
    structlog.reset_defaults()
