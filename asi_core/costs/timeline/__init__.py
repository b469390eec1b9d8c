"""The memory of one training step over time: what is alive at every operator, and what for."""
