"""Broken servers: pages report the error in a sentence."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.browser.app import running_app
from tests.browser.visiting import MINUTE


def test_a_store_that_cannot_be_opened_is_reported(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a folder is needed")
    broken = f"sqlite:///{tmp_path}/file/asi.sqlite"
    with running_app(tmp_path, ASI_DATABASE_URL=broken) as app:
        page = browser.new_context().new_page()
        for path in ("", "train"):
            page.goto(f"{app.url}/{path}")
            alert = page.get_by_test_id("stAlert").first
            expect(alert).to_contain_text("The store of runs does not respond", timeout=MINUTE)
            expect(page.get_by_test_id("stException")).to_have_count(0)
            expect(page.get_by_text("Traceback")).to_have_count(0)
        page.context.close()
