"""User images in real browsers: two visitors upload the same zip, and both train on it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from asi_core.runs.records import EXAMPLE_OWNER, RunRecord
from asi_core.runs.store.run_store import RunStore
from tests.browser.app import Server
from tests.browser.controls import close_popover, open_popover
from tests.browser.visiting import MINUTE, Visit, open_page, wait_until_drawn
from tests.datasets.pictures import both_splits
from tests.datasets.test_uploads import packed
from tests.waiting import wait_for

TINY = "/train?steps=2&image_size=32&batch_size=16&layers=1&methods=Vanilla"
MENU = "Your images"


@pytest.fixture
def store(training_server: Server) -> Iterator[RunStore]:
    opened = RunStore(f"sqlite:///{training_server.home / 'asi.sqlite'}")
    yield opened
    opened.close()


def upload(page: Page, name: str, zipped: bytes) -> None:
    open_popover(page, MENU)
    box = page.locator("[data-testid=stFileUploader] input[type=file]")
    box.set_input_files(FilePayload(name=name, mimeType="application/zip", buffer=zipped))
    expect(page.get_by_text("2 classes, 32 training images and 8 test images")).to_be_visible()
    wait_until_drawn(page)
    if page.locator("[data-testid=stPopoverBody]").count():
        close_popover(page, MENU)


def trained(store: RunStore, page: Page, before: set[str]) -> list[RunRecord]:
    """Launch a comparison as a visitor, and wait for its runs."""
    page.get_by_role("button", name="Train and compare").click()
    new = wait_for(
        lambda: [
            runs
            for runs in store.latest_comparisons(9, but_of=[EXAMPLE_OWNER])
            if runs[0].comparison not in before
        ],
        30,
        "a new comparison",
    )
    (comparison,) = {runs[0].comparison for runs in new}

    def ended() -> list[RunRecord]:
        runs = store.comparison(comparison)
        return [] if any(run.is_active for run in runs) else runs

    return wait_for(ended, 240, "the end of all runs")


def test_two_visitors_bring_the_same_zip_and_both_train_on_it(
    browser: Browser, training_server: Server, store: RunStore
) -> None:
    # Two windows that are open at once share no cookie. Of the same run, the second visitor would
    # be shown the first one's numbers.
    urls = (f"{training_server.url}{TINY}&seed={seed}" for seed in range(2))
    visits: list[Visit] = [open_page(browser, url) for url in urls]
    zipped = packed(both_splits(train=16, test=4)).getvalue()
    for visit, called in zip(visits, ("pets", "animals"), strict=True):
        upload(visit.page, f"{called}.zip", zipped)
        # Each visitor's list shows the visitor's own file name.
        images = visit.page.get_by_role("combobox", name="Images")
        expect(images).to_have_value(re.compile(rf"^{called} \(.*\), uploaded$"))
    comparisons: dict[str, list[RunRecord]] = {}
    for visit in visits:
        runs = trained(store, visit.page, set(comparisons))
        comparisons[runs[0].comparison] = runs
    first, second = comparisons.values()
    assert {run.status for run in (*first, *second)} == {"completed"}
    assert {run.owner for run in first} != {run.owner for run in second}
    (dataset,) = {run.spec.dataset for run in (*first, *second)}
    assert dataset.startswith("upload:pets-")
    for visit in visits:
        expect(visit.page.get_by_text("completed after 2 steps")).to_have_count(2, timeout=MINUTE)
        visit.end()
