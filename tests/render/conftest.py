"""The browser in which pages are looked at."""

from collections.abc import Iterator

import pytest

from tests.render import chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    with chromium.running(tmp_path_factory.mktemp("profile")) as running:
        yield running
