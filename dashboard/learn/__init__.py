"""Four lessons: predict, run, reveal, take home."""
