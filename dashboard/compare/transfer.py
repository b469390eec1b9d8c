"""Export of a comparison to a file, and import from another installation."""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from asi_core.runs.exchange.transfer import export_comparison, import_comparison
from dashboard import services, visitor
from dashboard.compare.kept import library
from dashboard.held_files import show_upload_message, upload_box

_FILE = "transfer-file"


def transfer(titles: dict[str, str]) -> None:
    """Draw the panel; `titles` maps comparison ids to titles, and may be empty."""
    with st.expander("Export and import runs", icon=":material/swap_horiz:", key="transfer"):
        left, right = st.columns(2)
        with left:
            if titles:
                _export(titles)
            else:
                st.caption("There are no runs to export yet.")
        with right:
            hint = "A file written by “Export runs”, here or in another installation."
            upload_box(_FILE, "Import runs", hint, _keep)
    show_upload_message(_FILE)


def _export(titles: dict[str, str]) -> None:
    comparison = st.selectbox(
        "Comparison to export",
        list(titles),
        format_func=titles.__getitem__,
        key="transfer-comparison",
        help="Its ended runs, with all measurements.",
    )
    st.download_button(
        "Export runs",
        lambda: export_comparison(services.store(), library(), comparison),
        file_name=f"asi-runs-{comparison}.zip",
        mime="application/zip",
        key="transfer-export",
        icon=":material/download:",
        on_click="ignore",
        help="A zip of JSON and .npz files, for another installation or other programs.",
    )


def _keep(file: UploadedFile) -> str:
    runs = import_comparison(services.store(), library(), file, visitor.owner())
    return f"{len(runs)} run{'s' if len(runs) != 1 else ''} imported from {file.name}."
