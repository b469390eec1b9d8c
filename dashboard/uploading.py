"""Images of one's own: an upload, what is in it, and a look at any data set."""

from __future__ import annotations

import base64
from typing import Any

import streamlit as st

from asi_core.datasets import DATASETS, DatasetCard
from asi_core.datasets.formats import NAMES
from asi_core.datasets.limits import LARGEST_UPLOAD_BYTES
from asi_core.datasets.samples import MOST_CLASSES
from asi_core.datasets.uploads import keep_upload, remove_upload, uploads
from asi_core.errors import AsiError, one_sentence
from asi_core.methods import Vanilla
from asi_core.training.spec import RunSpec
from asi_core.units import format_bytes
from dashboard import visitor
from dashboard.damage import look_through
from dashboard.jobs import job_panel
from dashboard.plain import plain

_FILE, _TOLD, _COLUMNS = "upload", "upload-told", 2


def image_choices() -> dict[str, DatasetCard]:
    """What can be trained on, by name: what is published, and the visitor's own uploads."""
    whose = visitor.known_owner()
    own = {card.name: card for card in uploads(whose)} if whose else {}
    return {**DATASETS, **own}


def upload_menu(chosen: str) -> None:
    """A menu to upload a zip, and to remove the one that is chosen.

    Args:
        chosen: name of the data set that the form names.
    """
    with st.popover("Images of your own", icon=":material/upload:"):
        st.file_uploader(
            "A zip of images",
            type="zip",
            key=_FILE,
            on_change=_keep,
            help="A folder for each class, or train and test with a folder for each class inside. "
            f"Without test images, a fifth of each class is kept for testing. {NAMES}; at most "
            f"{format_bytes(LARGEST_UPLOAD_BYTES)}. The zip stays on this server.",
        )
        if chosen not in DATASETS:
            st.button(
                "Remove these images",
                key="upload-remove",
                icon=":material/delete:",
                on_click=_remove,
                args=(chosen,),
                help="Runs that were trained on them keep all that they have measured.",
            )
    if told := st.session_state.pop(_TOLD, None):
        kind, sentence = told
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


def _keep() -> None:
    """Keep what was uploaded and choose it; a refusal is told, and the choice stays."""
    file = st.session_state[_FILE]
    if file is None:
        return
    try:
        card = keep_upload(file, file.name, visitor.owner())
    except AsiError as error:
        st.session_state[_TOLD] = "refused", one_sentence(error)
        return
    if card.damage is None:
        look_through(card.name)
    st.session_state["dataset"] = card.name
    st.session_state[_TOLD] = (
        "kept",
        f"{card.title}: {card.class_count} classes, {card.train_count} images to train on and "
        f"{card.test_count} to test on.",
    )


def _remove(name: str) -> None:
    try:
        remove_upload(name, visitor.owner())
    except AsiError as error:
        st.session_state[_TOLD] = "refused", one_sentence(error)
        return
    st.session_state["dataset"] = next(iter(DATASETS))
