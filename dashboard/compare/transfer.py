"""Taking a comparison along as a file, and opening one that came from elsewhere."""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from asi_core.errors import AsiError, one_sentence
from asi_core.runs.exchange.transfer import export_comparison, import_comparison
from dashboard import services, visitor
from dashboard.compare.kept import library
from dashboard.held_files import forget
from dashboard.plain import plain

_FILE, _MESSAGE, _COUNT = "transfer-file", "transfer-told", "transfer-count"


def transfer(titles: dict[str, str]) -> None:
    """Draw the panel.

    Args:
        titles: comparison -> what it is called on the page; there may be none.
    """
    with st.expander("Export and import runs", icon=":material/swap_horiz:", key="transfer"):
        left, right = st.columns(2)
        with left:
            if titles:
                _take(titles)
            else:
                st.caption("There is nothing to take along yet.")
        with right:
            _open()
    if message := st.session_state.pop(_MESSAGE, None):
        kind, sentence = message
        (st.success if kind == "kept" else st.error)(plain(sentence))


def _take(titles: dict[str, str]) -> None:
    comparison = st.selectbox(
        "Comparison to take along",
        list(titles),
        format_func=titles.__getitem__,
        key="transfer-comparison",
        help="Its runs that have ended, with all that was measured.",
    )
    st.download_button(
        "Runs as a file",
        lambda: export_comparison(services.store(), library(), comparison),
        file_name=f"asi-runs-{comparison}.zip",
        mime="application/zip",
        key="transfer-export",
        icon=":material/download:",
        on_click="ignore",
        help="A zip of JSON and .npz that another installation can open, and other programs read.",
    )


def _open() -> None:
    reason = visitor.why_not()
    # A key of its own each time: what was opened is not offered once more.
    key = f"{_FILE}-{st.session_state.get(_COUNT, 0)}"
    st.file_uploader(
        "Runs of another installation",
        type="zip",
        key=key,
        disabled=reason is not None,
        on_change=_keep,
        args=(key,),
        help=reason or "A file that “Runs as a file” has written, here or elsewhere.",
    )


def _keep(key: str) -> None:
    """Keep what was uploaded; a refusal is told, and nothing is kept."""
    file = st.session_state[key]
    if not isinstance(file, UploadedFile):
        return
    st.session_state[_COUNT] = st.session_state.get(_COUNT, 0) + 1
    try:
        runs = import_comparison(services.store(), library(), file, visitor.owner())
    except AsiError as error:
        st.session_state[_MESSAGE] = "refused", one_sentence(error)
    else:
        count = f"{len(runs)} run{'s' if len(runs) != 1 else ''}"
        st.session_state[_MESSAGE] = "kept", f"{count} of {file.name} are kept here now."
    finally:
        forget(file)
