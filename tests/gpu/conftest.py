"""The Vulkan driver of the GPU tests."""

from collections.abc import Iterator

import pytest

from tests.gpu.driver import find_driver


@pytest.fixture(scope="module")
def driver() -> Iterator[None]:
    """Names the driver to engines that are started."""
    environment, _ = find_driver()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield
