"""The poster's study; `report` writes docs/results.md from the store."""
