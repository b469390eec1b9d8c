"""Text of others in Markdown: Streamlit takes what it is told for Markdown nearly everywhere."""

from __future__ import annotations

import re

_MEANING = re.compile(r"[\\`*\[\]<$]|:(?=\S)")


def plain(text: str) -> str:
    """Markdown that shows `text` as it is, on one line: no link, image, icon or formula.

    What comes from links, files and other installations is written by anybody.
    """
    return _MEANING.sub(r"\\\g<0>", re.sub(r"\s*[\r\n]\s*", " ", text))
