"""One town for all tests of this folder: its keys take a while to make."""

import pytest

from tests.api.town import Town


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town(tmp_path_factory.mktemp("town"))
