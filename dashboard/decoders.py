"""Language models on the pages: which may be chosen, and handing in one's own configuration."""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from asi_core.errors import AsiError, InvalidInput, one_sentence
from asi_core.units import format_count
from asi_core.zoo.cards import model_card
from asi_core.zoo.configurations import keep_configuration, named_in
from asi_core.zoo.outside import choices
from dashboard import visitor
from dashboard.held_files import set_upload_message, show_upload_message, upload_box

_FILE, _TEXT, _MINE = "configuration", "configuration-text", "configurations"
# Key of the box that chooses a model.
_CHOSEN = "model"
_HINT = (
    "The config.json of a decoder, as transformers reads it. No weights are needed: it is read for "
    "its sizes only, and stays on this server."
)


def model_choices() -> tuple[str, ...]:
    """All models that this visitor may choose: also configurations that they have handed in, and
    the one of their link."""
    mine: list[str] = st.session_state.setdefault(_MINE, [])
    linked = named_in(st.query_params.get(_CHOSEN, ""))
    if linked is not None and linked not in (*choices(), *mine):
        mine.append(linked)
    return (*choices(), *mine)


def configuration_menu() -> None:
    """A menu to hand in the configuration of a decoder, as a file or as text."""
    reason = visitor.why_not()
    with st.popover("Your language model", icon=":material/upload:"):
        upload_box(_FILE, "config.json of a decoder", _HINT, _keep_file, kind="json")
        st.text_area(
            "Or its text", key=_TEXT, placeholder='{"model_type": "llama", "hidden_size": ...}'
        )
        st.button(
            "Use this configuration",
            key="configuration-use",
            disabled=reason is not None,
            help=reason,
            on_click=_keep_text,
        )
    show_upload_message(_FILE)


def _keep_text() -> None:
    try:
        set_upload_message(_FILE, "kept", _keep(st.session_state[_TEXT]))
    except AsiError as error:
        set_upload_message(_FILE, "refused", one_sentence(error))


def _keep_file(file: UploadedFile) -> str:
    try:
        text = file.getvalue().decode()
    except UnicodeDecodeError:
        raise InvalidInput(
            "a configuration must be text", "another file", "choose a config.json"
        ) from None
    return _keep(text)


def _keep(text: str) -> str:
    """Keep a configuration, choose it, and describe it."""
    name = keep_configuration(text)
    card = model_card(name)
    st.session_state.setdefault(_MINE, []).append(name)
    st.session_state[_CHOSEN] = name
    return (
        f"{card.title}: {format_count(card.parameter_count, 'parameters')}, "
        f"{card.layer_count} linear layers."
    )
