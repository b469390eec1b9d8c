"""Whether `torch.compile` makes training steps of trained tails faster, and what it costs first.

    python -m benchmarks.compiled                              print a table
    python -m benchmarks.compiled --json > docs/compiled.json  then scripts/make_performance.py
    python -m benchmarks.compiled --cache FOLDER               a second call compiles nothing

It needs a C++ compiler. Steps with and without compiled code alternate in one process, in one
thread; their seconds are the processor's, which other work on the machine changes least. Compiled
code is PyTorch's (inductor, default settings, fixed shapes). It is given the whole tail, and leaves
out what it cannot trace: layers that compress their input, and lean layers that overwrite theirs.
So ASI's step has the parts between its trained layers compiled.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from asi_core.bench.environment import environment
from asi_core.bench.tails import NHWC, WAYS, Case, Tail, Way
from asi_core.bench.timing import alternating

NETWORKS = ("mcunet_in1", "mobilenet_v2", "resnet18")
LAYERS, BATCH = 4, 64
COMPARED: Mapping[str, Way] = {
    **{name: WAYS[name] for name in ("vanilla_nchw", "vanilla_nhwc", "vanilla_lean", "asi")},
    # The compiler fuses plain layers, as lean ones do by themselves.
    "asi_plain": replace(WAYS["asi"], lean=False, layout=NHWC),
}
_CPU = torch.device("cpu")


def main() -> int:
    """Measure, and print a table or JSON."""
    options = _parser().parse_args()
    torch.set_num_threads(1)
    # All tails share the code of their layers, which is compiled for each of them.
    torch._dynamo.config.recompile_limit = 64
    cases = [Case(name, LAYERS, BATCH, options.image_size) for name in options.network or NETWORKS]
    rows = []
    with TemporaryDirectory() as temporary:
        for row in compared(cases, options.seconds, options.cache or Path(temporary)):
            rows.append(row)
            lines = "\n".join(_lines(row))
            print(lines, file=sys.stderr if options.json else sys.stdout, flush=True)
    if options.json:
        print(json.dumps({"environment": environment(_CPU), "cases": rows}, indent=1))
    return 0


def compared(cases: Sequence[Case], seconds: float, cache: Path) -> Iterator[dict[str, Any]]:
    """One row per case.

    Args:
        seconds: approximate time limit of a case's steps, without compiling.
        cache: folder of compiled code, and of the seconds that compiling took.
    """
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    for case in cases:
        plain = {name: Tail(case, way, _CPU) for name, way in COMPARED.items()}
        compiled = {name: Tail(case, way, _CPU) for name, way in COMPARED.items()}
        compiling = {
            name: _compiled(tail, cache / f"{case.name} {name}".replace(" ", "_"))
            for name, tail in compiled.items()
        }
        for tail in plain.values():
            # As many steps: warm starts are then equal.
            tail.step()
        steps: dict[str, Callable[[], object]] = {name: tail.step for name, tail in plain.items()}
        steps |= {_with(name): tail.step for name, tail in compiled.items()}
        times = alternating(steps, seconds, _CPU, clock=lambda _: time.process_time())
        yield {
            **case.as_dict(),
            "seconds": {name: timing.as_dict() for name, timing in times.items()},
            "compile_seconds": compiling,
            "gradient_difference": {n: _difference(plain[n], compiled[n]) for n in COMPARED},
        }


def _with(name: str) -> str:
    return f"{name}_compiled"


def _compiled(tail: Tail, noted: Path) -> float:
    """Have a tail's steps compiled; returns the seconds of the first one.

    Args:
        noted: file with these seconds, of the call that filled the cache.
    """
    tail.compile_()
    started = time.perf_counter()
    tail.step()
    seconds = time.perf_counter() - started
    if not noted.exists():
        noted.write_text(str(seconds), encoding="utf-8")
    return float(noted.read_text(encoding="utf-8"))


def _difference(plain: Tail, compiled: Tail) -> float:
    """The largest difference of the loss and the gradients, relative to their norms."""
    pairs = zip(plain.loss_and_gradients(), compiled.loss_and_gradients(), strict=True)
    return max(float((a - b).norm() / a.norm()) for a, b in pairs)


def _lines(row: Mapping[str, Any]) -> Iterator[str]:
    yield f"{row['model']}, last {row['layers']}, batch {row['batch_size']}; ms per step:"
    for name in COMPARED:
        plain, compiled = (row["seconds"][n]["median"] for n in (name, _with(name)))
        yield (
            f"  {name:13} {1e3 * plain:7.1f}  compiled {1e3 * compiled:7.1f}  "
            f"{plain / compiled:.2f} times as fast, after {row['compile_seconds'][name]:.0f} s; "
            f"gradients differ by {row['gradient_difference'][name]:.0e}"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compiled",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--network", action="append", choices=NETWORKS, help="repeatable")
    parser.add_argument("--image-size", type=int, default=224, help="pixels")
    parser.add_argument("--seconds", type=float, default=30.0, help="of steps per network")
    parser.add_argument("--cache", type=Path, help="folder of compiled code")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
