"""Whether rows that somebody else has written can be read and drawn."""
