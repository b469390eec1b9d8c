"""Studies: many runs with one question, resumable, and the documents made from them."""
