"""Runs that come and go as files: exports, imports, and the examples that are shipped."""
