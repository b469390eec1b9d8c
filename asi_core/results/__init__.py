"""What runs came to: measures, verdicts, comparisons; over records alone, without an engine."""
