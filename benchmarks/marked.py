"""Tables that benchmarks write into documents, between two marks."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def write_table(document: str, name: str, table: str) -> None:
    """Put a table between the marks of its name.

    Args:
        document: file name in docs/.

    Raises:
        ValueError: if the document has no such marks.
    """
    path, begin, end = DOCS / document, f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page = path.read_text(encoding="utf-8")
    if begin not in page or end not in page:
        raise ValueError(f"{document} must have the marks {begin} and {end}")
    marked = f"{re.escape(begin)}.*{re.escape(end)}"
    text = f"{begin}\n{table}\n{end}"
    path.write_text(re.sub(marked, lambda _: text, page, flags=re.DOTALL), encoding="utf-8")
