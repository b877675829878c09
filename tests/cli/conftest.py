"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from helpers import Result


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run ``dtalk`` with some arguments, in this process."""
    from helpers import heard_dtalk

    return lambda *arguments: heard_dtalk(monkeypatch, *arguments)
