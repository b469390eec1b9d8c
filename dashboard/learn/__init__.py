"""The Learn page: five lessons of predict, run, reveal and take home."""
