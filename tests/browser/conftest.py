"""A real server and a real browser, never skipped: without a Chromium these tests fail."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.app import Server, running_app
from tests.browser.chromium import TEST_ARGUMENTS, find_chromium
from tests.browser.visiting import MINUTE

# A page may take longer than Playwright's default of five seconds on a busy processor.
expect.set_options(timeout=MINUTE / 2)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, store_of_examples: Path) -> Iterator[Server]:
    """A shared app with the shipped runs, for tests that start nothing."""
    home = tmp_path_factory.mktemp("home")
    # As after the first start, of which the apps of test_guards are tests.
    shutil.copy(store_of_examples, home)
    with running_app(home) as app:
        yield app


@pytest.fixture(scope="module")
def training_server(
    tmp_path_factory: pytest.TempPathFactory, features_dir: Path, store_of_examples: Path
) -> Iterator[Server]:
    """An app per module, for tests that start runs and jobs."""
    home = tmp_path_factory.mktemp("home")
    shutil.copy(store_of_examples, home)
    with running_app(home, ASI_FEATURES_DIR=str(features_dir)) as app:
        yield app


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    assert path, "no Chromium: run `make browser`, or set ASI_CHROMIUM to one"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=TEST_ARGUMENTS)
        yield browser
        browser.close()
