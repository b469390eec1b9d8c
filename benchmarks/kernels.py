"""Compressing one layer's input and its weight gradient, in all ways.

    python benchmarks/kernels.py [--minutes M] [--json]

The same as `python -m asi_core bench --only kernels`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from asi_core.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--only", "kernels", *sys.argv[1:]]))
