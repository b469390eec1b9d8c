"""The Learn page: four lessons of predict, run, reveal and take home."""
