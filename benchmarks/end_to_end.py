"""Whole training steps of trained tails, by all methods.

    python benchmarks/end_to_end.py [--minutes M] [--json]

The same as `python -m asi_core bench --only end_to_end`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from asi_core.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--only", "end_to_end", *sys.argv[1:]]))
