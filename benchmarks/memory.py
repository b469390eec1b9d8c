"""Bytes that trained tails keep for backward, by all methods.

    python benchmarks/memory.py [--minutes M] [--json]

The same as `python -m asi_core bench --only memory`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from asi_core.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--only", "memory", *sys.argv[1:]]))
