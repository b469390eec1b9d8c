"""The view for a projector: large text, no sidebar, no controls. Its link has `present=1`."""

from __future__ import annotations

import streamlit as st

_KEY = "present"
_ON = "1"

# Text is this many times as large; figures follow the size of the page's text.
SCALE = 1.5
_HIDDEN = ", ".join(
    f"[data-testid={part}]"
    for part in (
        *("stSelectbox", "stMultiSelect", "stSlider", "stNumberInput", "stTextInput", "stTextArea"),
        *("stRadio", "stButtonGroup", "stCheckbox", "stButton", "stDownloadButton", "stPopover"),
        *("stExpander", "stFileUploader", "stLinkButton", "stDataFrame"),
    )
)
_STYLES = f"""
html {{ font-size: {16 * SCALE}px; }}
[data-testid=stSidebar], [data-testid=stExpandSidebarButton], .live-chart .modebar,
/* A button with a help text lies inside of such an element. */
[data-testid=stTooltipIcon]:not([data-testid=stButton] *) {{ display: none !important; }}
[data-testid=stMain] :is({_HIDDEN}) {{ display: none; }}
/* The guess is the content of a lesson; the switch leads back. */
[data-testid=stMain] :is(.st-key-lesson-guess, .st-key-class-reveal, .st-key-present-switch)
  :is({_HIDDEN}) {{
  display: block;
}}
/* Wide parts stand below each other rather than being cut. */
.st-key-numbers-row [data-testid=stHorizontalBlock],
.st-key-run-cards [data-testid=stHorizontalBlock] {{ flex-wrap: wrap; }}
.st-key-numbers-row [data-testid=stColumn],
.st-key-run-cards [data-testid=stColumn] {{ min-width: 13rem; }}
[data-testid=stTable] {{ overflow-x: auto; }}
"""
# At the right of the page menu, where it takes no space; on a phone there is no projector.
_SWITCH = """
.st-key-present-switch { position: fixed; top: 0.9rem; right: 1.25rem; width: auto;
  z-index: 999991; }
@media (max-width: 1000px) { .st-key-present-switch { display: none; } }
"""


def present_switch() -> None:
    """Draw the switch, on all pages: as a part of the frame it keeps its value, and its place in
    the address, when the visitor changes page."""
    if _KEY not in st.session_state:
        st.session_state[_KEY] = st.query_params.get(_KEY) == _ON
    presents = st.session_state[_KEY]
    # Not bound to the address like other boxes, which would write the word of a switch.
    if presents and st.query_params.get(_KEY) != _ON:
        st.query_params[_KEY] = _ON
    elif not presents:
        st.query_params.pop(_KEY, None)
    with st.container(key="present-switch"):
        st.toggle("Present", key=_KEY)
    st.html(f"<style>{_SWITCH}{_STYLES if presents else ''}</style>")
