"""docs/results.md, from the store."""
