"""Checks that stored or imported runs are valid and can be drawn."""
