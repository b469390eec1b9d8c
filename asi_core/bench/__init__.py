"""What methods cost in seconds and bytes on this machine, side by side in one process.

Machines differ and are shared: what is told are ratios of medians of runs that alternate, with
their spread, and what the machine was.
"""
