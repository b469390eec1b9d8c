"""The Poster page: the printed table beside what is computed here."""
