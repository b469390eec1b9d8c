"""The Plan page: the best ranks within a budget."""
