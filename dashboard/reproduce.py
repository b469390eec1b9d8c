"""Commands and code that reproduce a run without this page."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from asi_core.errors import AsiError, one_sentence
from asi_core.training.reproduce import as_command, as_json, as_python
from asi_core.training.spec import RunSpec
from dashboard.frame import URL, drawer
from dashboard.plain import plain


def reproduce_panel(specs: Sequence[RunSpec], labels: Sequence[str], *, key: str) -> None:
    """An expander with the run chosen by label as a command line, as Python and as JSON."""
    with drawer("Reproduce", icon=":material/terminal:", key=f"{key}-commands") as panel:
        if not panel.open:
            return
        chosen = 0
        if len(specs) > 1:
            chosen = st.selectbox(
                "Run",
                range(len(specs)),
                format_func=labels.__getitem__,
                key=f"{key}-reproduce",
                help="The same specification and seed give the same numbers on the same machine.",
                **URL,
            )
        spec = specs[chosen]
        command, python, text = st.tabs(["Command line", "Python", "JSON"])
        try:
            command.code(as_command(spec), language="shell", wrap_lines=True)
        except AsiError as error:
            command.info(plain(one_sentence(error)))
        python.code(as_python(spec), language="python")
        text.code(as_json(spec), language="json")
