"""Execution of runs and jobs: worker processes, and the watchdog over them."""
