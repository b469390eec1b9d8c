"""Finding a Chromium to test with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
]
# Pages of tests are short: optimising their scripts takes longer than it saves.
TEST_ARGUMENTS = [*ARGUMENTS, "--js-flags=--no-opt"]
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """Path of a Chromium: the one in ASI_CHROMIUM, an installed one, or Playwright's own."""
    candidates = [os.environ.get("ASI_CHROMIUM"), *(shutil.which(name) for name in _NAMES)]
    with sync_playwright() as playwright:
        candidates.append(playwright.chromium.executable_path)
    return next((path for path in candidates if path and Path(path).exists()), None)
