"""The Step page: the memory of one training step over time."""
