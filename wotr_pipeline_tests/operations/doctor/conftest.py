"""Fixtures of the doctor's tests."""

from wotr_pipeline_tests.servers.conftest import own_platform  # noqa: F401  (a fixture)
