"""User images on the pages: the launched runs have the images that the form shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from asi_core.datasets import imagefolder, load_dataset
from asi_core.datasets.uploads import keep_upload, remove_upload, uploads
from asi_core.datasets.zips import ZipFiles
from dashboard import visitor
from tests.datasets.pictures import both_splits
from tests.datasets.test_uploads import packed
from tests.pages.test_train import (
    InlineEngine,
    engine,
    launch_button,
    opened,
    own_comparisons,
    set_small,
    texts,
    upload,
)

__all__ = ["engine"]
pytestmark = pytest.mark.usefixtures("opened_before", "engine")
PAGES = Path(__file__).parents[2] / "pages"
PETS = both_splits(train=12, test=4)


def comes(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Switch to another visitor."""
    monkeypatch.setattr(visitor, "owner", lambda: name)


def shown(page: AppTest) -> str:
    return str(page.selectbox(key="dataset").value)


def launched(page: AppTest) -> set[str]:
    """The data sets of the newest comparison."""
    launch_button(page).click().run()
    assert not page.exception
    return {run.spec.dataset for run in own_comparisons()[0]}


def test_the_second_visitor_with_the_same_zip_trains_on_it_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = []
    for visitor_name in ("ada", "bob"):
        comes(monkeypatch, visitor_name)
        page = upload(opened(), "pets.zip", PETS)
        assert "2 classes, 24 training images" in texts(page.success)
        set_small(page)
        names.append(shown(page))
        assert launched(page) == {names[-1]}
    assert names[0] == names[1] == uploads("ada")[0].name == uploads("bob")[0].name


def test_images_that_were_removed_elsewhere_are_reported_and_not_trained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    comes(monkeypatch, "ada")
    page = set_small(upload(opened(), "pets.zip", PETS))
    (card,) = uploads("ada")
    remove_upload(shown(page), "ada")
    page.run()
    assert card.title in texts(page.warning)
    assert "not in your list any more" in texts(page.warning)
    assert shown(page) == "fashion_mnist_small"
    assert launched(page) == {shown(page)}
    page.run()
    assert not page.warning, "told once"


@pytest.mark.parametrize("named", ["the name", "the title"])
def test_a_link_to_images_of_somebody_else_is_reported(
    monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    card = keep_upload(packed(PETS), "pets.zip", "ada")
    link = card.name if named == "the name" else card.title
    comes(monkeypatch, "bob")
    page = set_small(opened(dataset=link))
    assert shown(page) == "fashion_mnist_small"
    assert launched(page) == {shown(page)}
    fresh = opened(dataset=link)
    assert link in texts(fresh.warning).replace("\\", "")
    comes(monkeypatch, "ada")
    hers = opened(dataset=link)
    assert not hers.warning
    assert shown(hers) == card.name


@pytest.mark.parametrize("file", ["explore", "plan", "compare"])
@pytest.mark.parametrize("key", ["dataset", "sweep_dataset"])
def test_other_forms_tell_of_images_that_are_not_in_the_list(file: str, key: str) -> None:
    page = AppTest.from_file(str(PAGES / f"{file}.py"), default_timeout=180)
    page.query_params[key] = "no such images"
    page.query_params["sweep-panel"] = "true"
    page.run()
    assert not page.exception
    assert "no such images" in texts(page.warning)
    assert page.selectbox(key="dataset").value == "fashion_mnist_small"


def test_what_was_changed_just_before_the_click_is_launched() -> None:
    page = set_small(opened())
    page.number_input(key="steps").set_value(3)
    page.selectbox(key="dataset").set_value("cifar10")
    page.selectbox(key="dataset").set_value("fashion_mnist_small")
    # The click and the change reach the server together.
    launch_button(page).click().run()
    assert {run.spec.steps for run in own_comparisons()[0]} == {3}
    assert page.number_input(key="steps").value == 3


def test_an_invalid_change_just_before_the_click_launches_nothing() -> None:
    page = set_small(opened())
    page.number_input(key="steps").set_value(-1)
    launch_button(page).click().run()
    assert not page.exception
    assert own_comparisons() == []
    assert page.error


def test_removing_takes_what_the_box_shows_now(monkeypatch: pytest.MonkeyPatch) -> None:
    comes(monkeypatch, "ada")
    page = upload(opened(), "pets.zip", PETS)
    page = upload(page, "more.zip", both_splits(train=13, test=4))
    pets, more = (next(c for c in uploads("ada") if w in c.name) for w in ("pets", "more"))
    assert shown(page) == more.name
    page.selectbox(key="dataset").set_value(pets.name)
    next(b for b in page.button if b.label == "Remove these images").click().run()
    assert [card.name for card in uploads("ada")] == [more.name]


def test_who_may_only_look_is_offered_no_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASI_READ_ONLY", "1")
    assert opened().get("file_uploader")[0].disabled


def test_nothing_of_an_upload_is_read_again_when_the_page_is_drawn(
    monkeypatch: pytest.MonkeyPatch, engine: InlineEngine
) -> None:
    page = upload(opened(), "pets.zip", PETS)
    assert load_dataset(shown(page)).classes == ("cat", "dog")
    again = "looked through again"
    monkeypatch.setattr(ZipFiles, "__init__", lambda self, *given: pytest.fail(again))
    monkeypatch.setattr(imagefolder, "find_layout", lambda *given: pytest.fail(again))
    page.number_input(key="seed").set_value(3).run()
    assert not page.exception
    assert shown(page).startswith("upload:pets-")
