"""Images of one's own: an upload, what is in it, and a look at any data set."""

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
from dashboard.held_files import forget
from dashboard.jobs import job_panel
from dashboard.links import quoted
from dashboard.plain import plain

_FILE, _COUNT, _MESSAGE, _COLUMNS = "upload", "upload-count", "upload-told", 2
# Key of the box with the images, on the Train page, where they are uploaded.
_CHOSEN = "dataset"


def image_choices() -> dict[str, DatasetCard]:
    """What can be trained on, by name: what is published, and the visitor's own uploads."""
    whose = visitor.known_owner()
    own = {card.name: card for card in uploads(whose)} if whose else {}
    return {**DATASETS, **own}


def choose_images(key: str, help: str) -> str:  # noqa: A002 (Streamlit's own name)
    """A box to choose images in, under the key of the control and of the link.

    Returns:
        name of the data set that the box shows.
    """
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
    """Have the box of that key, which is not drawn yet, hold images of the visitor's list.

    A link names them as the command line does, or by title. Streamlit itself would show the first
    of the list in place of any others, and say nothing.

    Returns:
        a sentence about images that are not in the list (any more); the first are chosen then.
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
    """A menu to upload a zip, and to remove the one that is chosen.

    Args:
        chosen: name of the data set that the form shows.
    """
    reason = visitor.why_not()
    with st.popover("Images of your own", icon=":material/upload:"):
        # A key of its own each time: what was kept is not held in memory, nor offered once more.
        key = f"{_FILE}-{st.session_state.get(_COUNT, 0)}"
        st.file_uploader(
            "A zip of images",
            type="zip",
            key=key,
            disabled=reason is not None,
            on_change=_keep,
            args=(key,),
            help=reason
            or "A folder for each class, or train and test with a folder for each class inside. "
            f"Without test images, a fifth of each class is kept for testing. {NAMES}; "
            f"at most {format_bytes(LARGEST_UPLOAD_BYTES)}. The zip stays on this server.",
        )
        if chosen not in DATASETS:
            st.button(
                "Remove these images",
                key="upload-remove",
                icon=":material/delete:",
                disabled=reason is not None,
                on_click=_remove,
                help=reason or "Runs that were trained on them keep all that they have measured.",
            )
    if message := st.session_state.pop(_MESSAGE, None):
        kind, sentence = message
        (st.success if kind == "kept" else st.error)(plain(sentence))


def images_panel(spec: RunSpec) -> None:
    """The classes of a run's data set with some images of each; nothing is read while closed."""
    with st.expander(
        "The images", icon=":material/photo_library:", key="images", on_change="rerun"
    ) as panel:
        if not panel.open:
            return
        about = RunSpec(method=Vanilla(), dataset=spec.dataset)
        found = job_panel("samples", about, button="Show some images", key="images-look")
        if found is not None:
            _classes(found)


def _classes(found: dict[str, Any]) -> None:
    classes = found["classes"]
    more = found["class_count"] - len(classes)
    st.caption(
        f"{found['class_count']} classes; {found['train_count']} images to train on, "
        f"{found['test_count']} to test on."
        + (f" The first {MOST_CLASSES} classes are shown, {more} more are not." if more else "")
    )
    columns = st.columns(_COLUMNS)
    for number, one in enumerate(classes):
        # Names of folders are anybody's: as plain text.
        columns[number % _COLUMNS].text(f"{one['name']} · {one['train']} + {one['test']}")
        columns[number % _COLUMNS].image(base64.b64decode(one["row"]))


def _keep(key: str) -> None:
    """Keep what was uploaded and choose it; a refusal is told, and the choice stays."""
    file = st.session_state[key]
    if not isinstance(file, UploadedFile):
        # Taken back, or its window was away for too long.
        return
    st.session_state[_COUNT] = st.session_state.get(_COUNT, 0) + 1
    try:
        card = keep_upload(file, file.name, visitor.owner(), visitor.network())
    except AsiError as error:
        st.session_state[_MESSAGE] = "refused", one_sentence(error)
        return
    finally:
        forget(file)
    if card.damage is None:
        check_images_later(card.name)
    st.session_state[_CHOSEN] = card.name
    st.session_state[_MESSAGE] = (
        "kept",
        f"{card.title}: {card.class_count} classes, {card.train_count} images to train on and "
        f"{card.test_count} to test on.",
    )


def _remove() -> None:
    """Remove what the form shows now, which may be another than when the button was drawn."""
    name = st.session_state[_CHOSEN]
    if name in DATASETS:
        return
    try:
        remove_upload(name, visitor.owner())
    except AsiError as error:
        st.session_state[_MESSAGE] = "refused", one_sentence(error)
        return
    st.session_state[_CHOSEN] = next(iter(DATASETS))
