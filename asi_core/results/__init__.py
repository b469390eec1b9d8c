"""Results of runs: measures, verdicts and comparisons, computed from records without an engine."""
