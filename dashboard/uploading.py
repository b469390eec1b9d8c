"""Uploaded images, and a preview of any data set."""

from __future__ import annotations

import base64
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from asi_core.datasets import DATASETS, DatasetCard, dataset_card
from asi_core.datasets.formats import NAMES
from asi_core.datasets.limits import LARGEST_UPLOAD_BYTES
from asi_core.datasets.samples import MOST_CLASSES
from asi_core.datasets.uploads import keep_upload, remove_upload, uploads
from asi_core.errors import AsiError, one_sentence
from asi_core.methods import Vanilla
from asi_core.training.spec import RunSpec
from asi_core.units import format_bytes
from dashboard import visitor
from dashboard.damage import check_images_later
from dashboard.frame import URL
from dashboard.held_files import set_upload_message, show_upload_message, upload_box
from dashboard.jobs import job_panel
from dashboard.links import quoted
from dashboard.plain import plain

_FILE, _COLUMNS = "upload", 2
# Key of the box that chooses a data set.
_CHOSEN = "dataset"


def image_choices() -> dict[str, DatasetCard]:
    """All data sets by name: the published ones, and the visitor's uploads."""
    owner = visitor.known_owner()
    return {**DATASETS, **{card.name: card for card in (uploads(owner) if owner else ())}}


def choose_images(key: str, help: str) -> str:  # noqa: A002 (Streamlit's own name)
    """Draw a box to choose images; return the name of the data set that it shows."""
    images = image_choices()
    if unknown := settle_images(key):
        st.warning(unknown)
    chosen: str = st.selectbox(
        "Images",
        list(images),
        format_func=lambda name: images[name].title,
        key=key,
        help=help,
        **URL,
    )
    return chosen


def settle_images(key: str) -> str | None:
    """Set the value of the images box, before it is drawn, to an entry of the visitor's list.

    Links give a data set's name or title. If it is not in the list (any more), choose the first
    entry and return a sentence: Streamlit would do so silently.
    """
    images = image_choices()
    titles = {card.title: name for name, card in images.items()}
    if is_chosen := key in st.session_state:
        wanted = st.session_state[key]
    else:
        wanted = st.query_params.get(key)
    if wanted is None or wanted in images or (wanted in titles and not is_chosen):
        if wanted in images:
            st.session_state[key] = wanted
        return None
    st.session_state[key] = next(iter(images))
    return plain(
        f"The images {_title(wanted)} are not in your list any more: choose from the list."
        if is_chosen
        else f"The link asks for the dataset {quoted(str(wanted))}, which is unknown: choose from "
        "the list."
    )


def _title(name: Any) -> str:
    try:
        return dataset_card(str(name)).title
    except AsiError:
        return quoted(str(name))


def upload_menu(chosen: str) -> None:
    """A menu to upload a zip, and to remove the data set `chosen` if it was uploaded."""
    reason = visitor.why_not()
    hint = (
        "One folder per class, or train and test with one folder per class inside. Without test "
        f"images, a fifth of each class is kept for testing. {NAMES}; at most "
        f"{format_bytes(LARGEST_UPLOAD_BYTES)}. The zip stays on this server."
    )
    with st.popover("Your images", icon=":material/upload:"):
        upload_box(_FILE, "Zip of images", hint, _keep)
        if chosen not in DATASETS:
            st.button(
                "Remove these images",
                key="upload-remove",
                icon=":material/delete:",
                disabled=reason is not None,
                on_click=_remove,
                help=reason or "Runs that were trained on them keep their results.",
            )
    show_upload_message(_FILE)


def images_panel(spec: RunSpec) -> None:
    """An expander with some images of each class; nothing is read while it is closed."""
    with st.expander(
        "The images", icon=":material/photo_library:", key="images", on_change="rerun"
    ) as panel:
        if not panel.open:
            return
        job = RunSpec(method=Vanilla(), dataset=spec.dataset)
        found = job_panel("samples", job, button="Show some images", key="images-look")
        if found is not None:
            _classes(found)


def _classes(found: dict[str, Any]) -> None:
    classes = found["classes"]
    more = found["class_count"] - len(classes)
    st.caption(
        f"{found['class_count']} classes; {found['train_count']} training images, "
        f"{found['test_count']} test images."
        + (f" The first {MOST_CLASSES} classes are shown, {more} more are not." if more else "")
    )
    columns = st.columns(_COLUMNS)
    for number, one in enumerate(classes):
        # As plain text: users choose the names of folders.
        columns[number % _COLUMNS].text(f"{one['name']} · {one['train']} + {one['test']}")
        columns[number % _COLUMNS].image(base64.b64decode(one["row"]))


def _keep(file: UploadedFile) -> str:
    """Store the upload, choose it, and describe it."""
    card = keep_upload(file, file.name, visitor.owner(), visitor.network())
    if card.damage is None:
        check_images_later(card.name)
    st.session_state[_CHOSEN] = card.name
    return (
        f"{card.title}: {card.class_count} classes, {card.train_count} training images and "
        f"{card.test_count} test images."
    )


def _remove() -> None:
    """Remove the data set that the box shows now; it may have changed since the last run."""
    name = st.session_state[_CHOSEN]
    if name in DATASETS:
        return
    try:
        remove_upload(name, visitor.owner())
    except AsiError as error:
        set_upload_message(_FILE, "refused", one_sentence(error))
        return
    st.session_state[_CHOSEN] = next(iter(DATASETS))
