"""Runs as files: exports, imports, and the shipped examples."""
