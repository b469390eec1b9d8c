"""Poster: the printed table beside the values computed here."""

from __future__ import annotations

from dashboard.frame import question
from dashboard.links import checked
from dashboard.poster.cells import all_rows, chosen_rows
from dashboard.poster.view import filters, poster_view


@checked
def main() -> None:
    """Draw the page."""
    question("Do the printed numbers hold?")
    models = list(dict.fromkeys(row.model for row in all_rows("paper")))
    convention, chosen, methods = filters(models)
    poster_view(chosen_rows(convention, chosen, methods), convention)


# A spawned worker process imports this file again, under another name.
if __name__ == "__main__":
    main()
