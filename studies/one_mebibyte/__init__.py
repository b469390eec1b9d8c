"""Training on a device of 1 MiB: what fits, whether a measurement confirms it, and its accuracy."""
