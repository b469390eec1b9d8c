"""The Compare page: which runs are worth their memory, and sweeps."""
