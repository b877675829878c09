"""A headless Chromium that shows the pages dtalk writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# WebGL without a graphics card; sound without a click.
FLAGS = ("--enable-unsafe-swiftshader", "--autoplay-policy=no-user-gesture-required")
PATIENCE = 300_000  # milliseconds that anything may take: the machine may be busy


def chromium() -> Path:
    """The program; the test is skipped without it."""
    pytest.importorskip("playwright", reason="no playwright: pip install playwright")
    named = os.environ.get("CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on the path (apt-get install chromium), nor named by CHROMIUM")
    return Path(found)


@contextmanager
def launched(*flags: str) -> Iterator[Browser]:
    """A browser that is closed in the end."""
    program = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A test may run as root, where Chromium's sandbox does not start.
        browser = playwright.chromium.launch(
            executable_path=program, args=[*FLAGS, *flags], timeout=PATIENCE, chromium_sandbox=False
        )
        try:
            yield browser
        finally:
            browser.close()
