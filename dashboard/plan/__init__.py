"""The Plan page: the best ranks under a budget."""
