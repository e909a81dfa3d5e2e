"""Tests of what the platform reports of itself."""
