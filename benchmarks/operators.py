"""Where the time of a training step goes, operator by operator.

    python -m benchmarks.operators                               print tables
    python -m benchmarks.operators --json > docs/operators.json  then scripts/make_performance.py

Steps of vanilla and ASI alternate under PyTorch's profiler in one process. An operator's time is
its own, without that of the operators it calls. Operators count for the part of the step that calls
them: compressing inputs, weight gradients in the compressed space, activations, normalisations, or
the rest. The profiler adds to the time of every operator: compare parts with each other, and steps
in docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, cast

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from asi_core.bench.environment import environment
from asi_core.bench.tails import WAYS, Case, Tail, Way
from asi_core.methods import ASI, USUAL_RANKS
from asi_core.methods.base import Saved

NETWORKS = ("mcunet_in1", "mobilenet_v2", "resnet18")
LAYERS, BATCH = (2, 4), 64
_CPU = torch.device("cpu")
_COMPRESSION, _WEIGHT_GRADIENTS = "compression", "weight gradients"
_ACTIVATIONS, _NORMALISATIONS, _REST = "activations", "normalisations", "the rest"
# Functions whose name begins like this, and all that they call.
_CALLERS = {
    _COMPRESSION: _COMPRESSION,
    _WEIGHT_GRADIENTS: _WEIGHT_GRADIENTS,
    "_OneBit": _ACTIVATIONS,
    "aten::clamp": _ACTIVATIONS,
    "aten::relu": _ACTIVATIONS,
    "aten::hardtanh": _ACTIVATIONS,
    "aten::threshold_backward": _ACTIVATIONS,
    "_FixedNormalisation": _NORMALISATIONS,
    "aten::native_batch_norm": _NORMALISATIONS,
}
_OPERATORS = {
    "aten::mkldnn_convolution": "convolutions",
    "aten::_convolution": "convolutions",
    "aten::convolution_backward": "convolutions, backward",
    "aten::_slow_conv2d_forward": "convolutions",
    "aten::thnn_conv2d": "convolutions",
    "aten::mm": "matrix products",
    "aten::bmm": "matrix products",
    "aten::addmm": "matrix products",
    "aten::baddbmm": "matrix products",
    "aten::linalg_qr": "QR decompositions",
    "aten::copy_": "copies",
}


class _NamedASI(ASI):
    """ASI whose two own parts have a name in a profile."""

    def compress(self, *args: Any) -> Saved:
        with record_function(_COMPRESSION):
            return super().compress(*args)

    def weight_gradient(self, *args: Any) -> torch.Tensor:
        with record_function(_WEIGHT_GRADIENTS):
            return super().weight_gradient(*args)


COMPARED: Mapping[str, Way] = {
    **{name: WAYS[name] for name in ("vanilla_nchw", "vanilla_nhwc", "vanilla_lean")},
    "asi_needed": WAYS["asi_needed"].with_method(_NamedASI(ranks=USUAL_RANKS)),
    "free": WAYS["free"],
}


def main() -> int:
    """Measure, and print tables or JSON."""
    options = _parser().parse_args()
    rows = []
    for network in options.network or NETWORKS:
        for layers in LAYERS:
            case = Case(network, layers, BATCH)
            row = {**case.as_dict(), "seconds": profiled(case, options.rounds)}
            rows.append(row)
            text = f"{case.name}\n{_table(row['seconds'])}"
            print(text, file=sys.stderr if options.json else sys.stdout, flush=True)
    if options.json:
        print(json.dumps({"environment": environment(_CPU), "cases": rows}, indent=1))
    return 0


def profiled(case: Case, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of one step by configuration and kind of operator: medians of the rounds."""
    tails = {name: Tail(case, way, _CPU) for name, way in COMPARED.items()}
    for tail in tails.values():
        tail.settle()
        tail.step()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in tails}
    for _ in range(rounds):
        for name, tail in tails.items():
            found[name].append(_one_step(tail))
    return {name: _medians(steps) for name, steps in found.items()}


def _one_step(tail: Tail) -> dict[str, float]:
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        tail.step()
    seconds: defaultdict[str, float] = defaultdict(float)
    for event in cast("Sequence[FunctionEvent]", recorded.events()):
        seconds[_kind(event)] += event.self_cpu_time_total / 1e6
    return seconds


def _kind(event: FunctionEvent) -> str:
    """The part of the step that called an operator, and the kind of operator."""
    operator = _OPERATORS.get(event.name, "other operators")
    caller: FunctionEvent | None = event
    while caller is not None:
        for beginning, part in _CALLERS.items():
            if caller.name.startswith(beginning):
                whole = part in (_ACTIVATIONS, _NORMALISATIONS)
                return part if whole else f"{part}: {operator}"
        caller = caller.cpu_parent
    return f"{_REST}: {operator}"


def _medians(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    kinds = sorted({kind for step in steps for kind in step})
    return {kind: median(step.get(kind, 0.0) for step in steps) for kind in kinds}


def _table(seconds: Mapping[str, Mapping[str, float]]) -> str:
    kinds = sorted({kind for one in seconds.values() for kind in one})
    lines = [f"{'ms':44}" + "".join(f"{name:>14}" for name in seconds)]
    for kind in kinds:
        cells = (f"{1e3 * one.get(kind, 0.0):14.2f}" for one in seconds.values())
        lines.append(f"{kind:44}" + "".join(cells))
    sums = (f"{1e3 * sum(one.values()):14.2f}" for one in seconds.values())
    return "\n".join([*lines, f"{'sum':44}" + "".join(sums)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.operators",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--network", action="append", choices=NETWORKS, help="repeatable")
    parser.add_argument("--rounds", type=int, default=20, help="profiled steps of each")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
