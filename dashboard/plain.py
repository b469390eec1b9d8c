"""Text of others in Markdown: Streamlit takes what it is told for Markdown nearly everywhere."""

from __future__ import annotations

import re

# What means something anywhere, at the edge of a word, and at the beginning of a line; `www.` and
# addresses become links without any sign.
_ANYWHERE = r"[\\`*\[\]<$~@]|:(?=\S)|&(?=[#\w])|(?<=\bwww)\."
_AT_AN_EDGE = r"(?<![^\W_])_|_(?![^\W_])"
_AT_THE_START = r"^[#>+=|-]|(?<=^\d)[.)]|(?<=^\d\d)[.)]"
_MEANING = re.compile(f"{_ANYWHERE}|{_AT_AN_EDGE}|{_AT_THE_START}", re.IGNORECASE)


def plain(text: str) -> str:
    """Markdown that shows `text` as it is, on one line: no link, image, icon, formula, heading,
    list or emphasis.

    What comes from links, files and other installations is written by anybody.
    """
    # Of what is blank before it, four would make it code.
    return _MEANING.sub(r"\\\g<0>", re.sub(r"\s*[\r\n]\s*", " ", text).strip())
