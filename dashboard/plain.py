"""Escaping for text from other users: Streamlit reads nearly all text as Markdown."""

from __future__ import annotations

import re

# Markup that is recognised anywhere, at the edge of a word, and at the beginning of a line; `www.`
# and addresses become links without any markup.
_ANYWHERE = r"[\\`*\[\]<$~@]|:(?=\S)|&(?=[#\w])|(?<=\bwww)\."
_AT_AN_EDGE = r"(?<![^\W_])_|_(?![^\W_])"
_AT_THE_START = r"^[#>+=|-]|(?<=^\d)[.)]|(?<=^\d\d)[.)]"
_MEANING = re.compile(f"{_ANYWHERE}|{_AT_AN_EDGE}|{_AT_THE_START}", re.IGNORECASE)


def plain(text: str) -> str:
    """Markdown that shows `text` literally, on one line, without any formatting.

    For text from links, files and other installations, which anyone may have written.
    """
    # Stripped: four leading blanks would make it code.
    return _MEANING.sub(r"\\\g<0>", re.sub(r"\s*[\r\n]\s*", " ", text).strip())
