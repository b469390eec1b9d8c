"""What only a machine with an accelerator can prove: `python -m benchmarks.gpu --device cuda`."""
