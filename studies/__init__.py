"""Studies: sets of runs for one question, resumable, and the documents made from them."""
