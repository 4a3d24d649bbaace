"""Keys are made once for all tests of the room; the log is read by each test for itself."""

from collections.abc import Iterator

import pytest
import structlog

from tests.net.members import Members, Said, new_identities


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> Members:
    return Members(new_identities(tmp_path_factory.mktemp("members")))


@pytest.fixture
def said() -> Iterator[Said]:
    said = Said()
    structlog.configure(processors=[said])
    yield said
    structlog.reset_defaults()
