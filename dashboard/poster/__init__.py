"""The Poster page: the printed table beside the values computed here."""
