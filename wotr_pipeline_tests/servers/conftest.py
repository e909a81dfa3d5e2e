"""A data directory of its own for tests that break servers in ways the others must not feel."""

from collections.abc import Iterator

import pytest

from wotr_pipeline.servers.lifecycle import Platform
from wotr_pipeline_tests.conftest import temporary_data_directory


@pytest.fixture
def own_platform() -> Iterator[Platform]:
    """Nothing started yet; ended and removed at the end."""
    with temporary_data_directory() as path:
        yield Platform(path)
