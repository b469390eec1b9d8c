"""Benchmarks: time and memory of methods on this machine, measured in one process.

Machines differ and are shared. So the results are ratios of medians of alternating runs, with their
spread, and a description of the machine.
"""
