"""A fixture of all tests of motion."""

from __future__ import annotations

import warnings

import pytest


@pytest.fixture(autouse=True)
def no_unexpected_warning():
    """A warning that a test does not ask for is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
