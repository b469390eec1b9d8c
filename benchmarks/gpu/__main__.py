"""Check on a device what nothing else can prove, and write one JSON file and one table.

    make gpu                    on CUDA, in less than 8 minutes
    make gpu DEVICE=cpu         that the check itself works, on the processor
    python -m benchmarks.gpu --device cuda:1 --out FOLDER --only memory

Correctness of all methods in float32, bfloat16 and float16; runs that go on from a checkpoint; the
memory of a step by the allocator's own history, beside the formula; the bench; and the Train page's
first comparison. The exit status is 1 if a part fails, and 2 if the device is not here.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from asi_core.errors import AsiError, one_sentence
from asi_core.training.setup import device_named
from benchmarks.gpu.parts import PARTS, run_part
from benchmarks.gpu.report import report
from benchmarks.gpu.running import run_parts


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments ask for; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        device_named(options.device)
    except AsiError as error:
        print(one_sentence(error), file=sys.stderr)
        return 2
    if options.part is not None:
        for row in run_part(options.part, options.device):
            print(json.dumps(row), flush=True)
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    found = run_parts(options.device, options.only or PARTS, _tell)
    (options.out / "gpu.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (options.out / "gpu.md").write_text(report(found), encoding="utf-8")
    _tell(f"{'passed' if found['passed'] else 'failed'}: {options.out / 'gpu.md'}, gpu.json")
    return 0 if found["passed"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cuda", help="as PyTorch calls it")
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="folder of the two files")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; repeatable")
    # A part in this process, as rows on standard output.
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    return parser


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
