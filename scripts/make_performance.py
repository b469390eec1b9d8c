"""Write docs/performance.md from a benchmark.

    python -m asi_core bench --json > docs/performance.json
    python scripts/make_performance.py

Results of other machines may be added as `docs/performance-<name>.json`. Nothing is measured here:
every number comes from the JSON files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCE, TARGET = ROOT / "docs" / "performance.json", ROOT / "docs" / "performance.md"
OTHERS = "performance-*.json"
GPU = ROOT / "docs" / "gpu.json"
COMPILED = ROOT / "docs" / "compiled.json"
OPERATORS = ROOT / "docs" / "operators.json"
MIB = 2**20

WAYS = {
    "vanilla_nchw": "vanilla NCHW",
    "vanilla_nhwc": "vanilla NHWC",
    "vanilla_lean": "vanilla lean",
    "asi": "ASI, every step",
    "asi_half": "ASI, every step, half-precision factors",
    "asi_refreshed": "ASI, refreshed every 4 steps",
    "asi_late": "ASI, updated one step late",
    "asi_needed": "ASI, when needed (default)",
    "hosvd": "HOSVD",
    "gradient_filter": "gradient filter",
    "checkpointing": "checkpointing",
    "eight_bit": "8-bit",
    "free": "no weight gradients",
}
RATIOS = (
    ("vanilla_nchw", "asi"),
    ("vanilla_nhwc", "asi"),
    ("vanilla_nchw", "asi_refreshed"),
    ("vanilla_nhwc", "asi_refreshed"),
    ("vanilla_nchw", "asi_late"),
    ("vanilla_nhwc", "asi_late"),
    ("vanilla_nchw", "asi_needed"),
    ("vanilla_nhwc", "asi_needed"),
)
COMPRESSIONS = {
    "asi": "ASI",
    "asi_refreshed": "refreshed every 4 steps",
    "asi_not_sequential": "not sequential",
    "hosvd_gram": "HOSVD, Gram",
    "hosvd_svd": "HOSVD, SVD",
}

HEAD = """# Time and bytes, measured

The last k convolutions of four networks and a new classifier with 10 classes, on images of 224
pixels, including everything between them: the trained part as in training, without the frozen
prefix (which is computed once per image and kept). Ranks 16 x 32 x 4 x 4 (batch, channel, height,
width). Weights are random, since neither time nor bytes depend on them.

All configurations of a case run in one process and alternate; numbers are medians, quartiles in
brackets. Machines differ and are shared: compare numbers within a row, and ratios, not milliseconds
of different days. Written by `python scripts/make_performance.py` from `docs/performance.json`,
which `python -m asi_core bench --json` writes.

"""

STEPS = """
## A training step, batch {batch}

Forward and backward pass, batch {batch}, in milliseconds. "Tail" is the trained part. Vanilla NCHW
is PyTorch's default, with images in memory channel by channel; NHWC is the same with
`channels_last`, pixel by pixel. All others have lean layers and the layout that training would
choose. All except vanilla and checkpointing compute frozen normalisations within their
convolutions, where that is faster. "No weight gradients" is the time that remains if these are
free: no compression with an exact forward pass and exact input gradients can be faster. The
arithmetic limit is the same in multiplies: vanilla's over those without the weight gradients.
Steps can be faster than the limit if vanilla's weight gradients are slower per multiply than its
other products.

"""

GAP = """
### Where the rest goes

ASI's step at batch 64 in milliseconds: compressing the inputs, the weight gradients in the
compressed space, and everything else, beside the step without weight gradients. Small networks are
limited by memory traffic: compressing reads an input at least once, and reading it once is all that
vanilla's weight gradient needs. Parts are timed separately from the steps above, so that their sum
may differ from the step.

"""

ELSEWHERE = """
## On other machines

Geometric means over the same cases. The benefit of compression depends on the speed of a
processor's convolutions compared to its matrix products: the slower the library's weight gradients,
the more is saved. Everything else on this page is from the first machine. Numbers of an earlier day
are from that day's code.

"""

PROFILE = """
## Operator by operator

One step under PyTorch's profiler, batch 64, in milliseconds of operators' own time: medians of
alternating steps. Vanilla is in its faster layout, ASI in its default settings. Convolutions are
the forward pass and the input gradients, in vanilla with the weight gradients, which PyTorch
computes in the same call. Activations with ASI keep one bit per element, which takes longer than
PyTorch's own and keeps 32 times less; normalisations are part of its convolutions where that is
faster. The profiler adds to each operator, so that sums differ from a step's time. Where ASI is
slower, as with MCUNet, these bits and the compression take what the weight gradients save. Written
from `docs/operators.json`, which has every kind of operator and more configurations, and which
`python -m benchmarks.operators --json` writes.

{machine}

"""

KERNELS = """
## One layer

Compressing one input (batch 64, NHWC), and its weight gradient from the whole input and from ASI's
form, in milliseconds. "SVD" decomposes the unfoldings, as HOSVD is published; the Gram matrix gives
the same ranks and energy.

"""

MEMORY = """
## Bytes kept for backward

Batch 64, MiB of unique storages that are saved for backward in the whole trained part, parameters
and buffers excluded, as two independent meters agree. "Lossless": with lean layers and exact
inputs, the loss and all gradients are equal to plain vanilla's, bit for bit (same layout).

"""

COMPILER = """
## With torch.compile

Steps as above, batch 64, one thread, without and with PyTorch's compiler (inductor, default
settings, fixed shapes), which is given the whole trained part. It leaves out layers that compress
their input and lean layers that overwrite theirs: with ASI the parts between are compiled. "Plain
neighbours" are PyTorch's own normalisations and activations around ASI's layers. Times are the
processor's, medians of alternating steps: 8 of each for MCUNet, 2 for the others, whose quartiles
are thus their range. "Compiling" is the first step's time on a busy machine, without a cache of
compiled code. Written from `docs/compiled.json`, which `python -m benchmarks.compiled --json`
writes. No case gains 5 %, so runs have no such setting ([decision
0129](decisions/0129-no-torch-compile.md)).

{machine}

"""

ON_A_GPU = """
## On a GPU

`make gpu` runs on a machine with an NVIDIA GPU what no processor can prove, in less than 8 minutes:
the contract of all methods on the device in float32, bfloat16 and float16 (exact gradients against
PyTorch's own, kept bytes against the formula, warm starts, checkpoints), runs resumed from a file,
the memory of a step by the allocator's history beside the formula, the bench, and the Train page's
first comparison. It writes `gpu/gpu.json` and `gpu/gpu.md`; `OUT=folder` writes them elsewhere, and
`DEVICE=cuda:1` takes another device. Times are the machine's, after the device has been
synchronised; so they include the launch of kernels, as a user waits for it.

"""

NO_GPU = """No GPU has been measured yet: the first file, copied to `docs/gpu.json`, becomes a table
here with `python scripts/make_performance.py`.
"""


def main() -> None:
    found = json.loads(SOURCE.read_text())
    parts = [HEAD, _environment(found["environment"]), _summary(found["summary"])]
    for batch in sorted({case["batch_size"] for case in found["end_to_end"]}):
        cases = [case for case in found["end_to_end"] if case["batch_size"] == batch]
        parts += [STEPS.format(batch=batch), _steps(cases)]
        if any(case["parts"] for case in cases):
            parts += [GAP, _gaps(cases)]
    others = [json.loads(path.read_text()) for path in sorted(SOURCE.parent.glob(OTHERS))]
    if others:
        parts += [ELSEWHERE, _elsewhere([found, *others])]
    parts.append(_profile(json.loads(OPERATORS.read_text())))
    parts += [KERNELS, _kernels(found["kernels"]), MEMORY, _memory(found["memory"])]
    parts += [_compiled(json.loads(COMPILED.read_text())), ON_A_GPU, _gpu()]
    TARGET.write_text("".join(parts))


def _compiled(found: dict[str, Any]) -> str:
    rows = []
    for case in found["cases"]:
        for name, compiling in case["compile_seconds"].items():
            both = [case["seconds"][way] for way in (name, f"{name}_compiled")]
            ratio = both[0]["median"] / both[1]["median"]
            title = WAYS.get(name, "ASI, every step, plain neighbours")
            rows.append(
                [f"{_case(case)}, {title}", *map(_spread, both), f"{ratio:.2f}", f"{compiling:.0f}"]
            )
    titles = ["tail", "without, ms", "with, ms", "without / with", "compiling, s"]
    return COMPILER.format(machine=_environment(found["environment"]).strip()) + _table(
        titles, rows
    )


def _profile(found: dict[str, Any]) -> str:
    parts = ("compression", "weight gradients", "activations", "normalisations")
    rows = []
    for case in found["cases"]:
        seconds = case["seconds"]
        plain = min(("vanilla_nchw", "vanilla_nhwc"), key=lambda way: sum(seconds[way].values()))
        for way in (plain, "asi_needed", "free"):
            sums = dict.fromkeys(("the rest: convolutions", *parts, "the rest"), 0.0)
            for kind, value in seconds[way].items():
                sums[next(name for name in sums if kind.startswith(name))] += value
            cells = [*sums.values(), sum(sums.values())]
            rows.append([_case(case), WAYS[way], *_fixed((1e3 * c for c in cells), 1)])
    titles = ["tail", "method", "convolutions", *parts, "everything else", "sum"]
    return PROFILE.format(machine=_environment(found["environment"]).strip()) + _table(titles, rows)


def _gpu() -> str:
    if not GPU.exists():
        return NO_GPU
    sys.path.insert(0, str(ROOT))
    from benchmarks.gpu.report import report

    return report(json.loads(GPU.read_text()), level=3)


def _environment(machine: dict[str, Any]) -> str:
    allocator = ", ".join(f"{k}={v}" for k, v in machine["allocator"].items()) or "default"
    return (
        f"Measured on {machine['date']}. Machine: {machine['processor']}, "
        f"{machine['cores']} cores, {machine['threads']} threads, "
        f"{machine['cpu_capability']}; PyTorch {machine['torch']}, Python {machine['python']}; "
        f"settings of memory and threads: {allocator}; huge pages: {machine['huge_pages']}.\n"
    )


def _summary(summary: dict[str, Any]) -> str:
    lines = ["\n## Summary\n\n"]
    for name, ratio in summary["steps"].items():
        batch, slow, fast = _compared(name)
        lines.append(
            f"- Batch {batch}, {fast} against {slow}: {ratio['geometric_mean']:.2f} "
            f"times as fast (geometric mean of the cases), at least {ratio['least']:.2f}.\n"
        )
    for way, ratio in summary["memory_ratio"].items():
        lines.append(
            f"- The whole trained part keeps {ratio['geometric_mean']:.1f} times fewer bytes with "
            f"{_lean(way)} than with plain PyTorch (geometric mean), at least "
            f"{ratio['least']:.1f} times.\n"
        )
    lines += [
        f"- Lean layers are {'' if summary['lossless'] else 'not '}lossless: with exact inputs, "
        "loss and gradients equal plain PyTorch's, bit for bit.\n",
        f"- HOSVD through the Gram matrix is {summary['hosvd_svd_over_gram']:.1f} times as fast as "
        f"through the SVD, and ASI {summary['hosvd_over_asi']:.1f} times as fast as that; one mode "
        f"after the other is {summary['not_sequential_over_sequential']:.1f} times as fast as all "
        "on the full tensor (geometric means over the layers).\n",
    ]
    return "".join(lines)


def _elsewhere(found: Sequence[dict[str, Any]]) -> str:
    """Ratios of all machines, as columns."""
    machines = [
        f"{machine['processor']}, {machine['cpu_capability']}, {machine['date']}"
        for machine in (one["environment"] for one in found)
    ]
    rows = []
    for name in found[0]["summary"]["steps"]:
        batch, slow, fast = _compared(name)
        # Older files lack the configurations that came later.
        ratios = [one["summary"]["steps"].get(name) for one in found]
        cells = [
            f"{r['geometric_mean']:.2f} (at least {r['least']:.2f})" if r else "–" for r in ratios
        ]
        rows.append([f"batch {batch}, {slow} / {fast}", *cells])
    for title, name in (
        ("HOSVD, SVD / Gram", "hosvd_svd_over_gram"),
        ("HOSVD, Gram / ASI, every step", "hosvd_over_asi"),
    ):
        rows.append([title, *_fixed(one["summary"][name] for one in found)])
    return _table(["seconds over seconds", *machines], rows)


def _compared(name: str) -> tuple[str, str, str]:
    """Batch, slower and faster configuration of a ratio in the summary."""
    _, batch, rest = name.split("_", 2)
    slow, fast = rest.split("_over_")
    return batch, WAYS[slow], WAYS[fast]


def _steps(cases: Sequence[dict[str, Any]]) -> str:
    names = [name for name in WAYS if name in cases[0]["seconds"]]
    over = [(slow, fast) for slow, fast in RATIOS if {slow, fast} <= set(names)]
    rows = []
    for case in cases:
        seconds = case["seconds"]
        ratios = [seconds[slow]["median"] / seconds[fast]["median"] for slow, fast in over]
        cells = [_spread(seconds[name]) for name in names]
        rows.append([_case(case), *cells, *_fixed([*ratios, case["arithmetic_limit"]])])
    titles = [f"{WAYS[slow]} / {WAYS[fast]}" for slow, fast in over]
    return _table(["tail", *(WAYS[name] for name in names), *titles, "arithmetic limit"], rows)


def _gaps(cases: Sequence[dict[str, Any]]) -> str:
    rows = []
    for case in cases:
        for name, parts in case["parts"].items():
            milliseconds = [1e3 * parts[p] for p in ("compression", "weight_gradients", "rest")]
            free = 1e3 * case["seconds"]["free"]["median"]
            rows.append([_case(case), WAYS[name], *_fixed([*milliseconds, free], 1)])
    titles = ["compression", "weight gradients", "everything else", WAYS["free"]]
    return _table(["tail", "method", *titles], rows)


def _kernels(layers: Sequence[dict[str, Any]]) -> str:
    rows = []
    for layer in layers:
        compress, gradient = layer["compress_seconds"], layer["weight_gradient_seconds"]
        times = [compress[name] for name in COMPRESSIONS] + [gradient["vanilla"], gradient["asi"]]
        sizes = [" x ".join(map(str, layer[f"{what}_shape"])) for what in ("input", "weight")]
        rows.append([layer["model"], *sizes, *_fixed([1e3 * t["median"] for t in times], 2)])
    gradients = ["weight gradient", "from ASI's form"]
    return _table(["network", "input", "weight", *COMPRESSIONS.values(), *gradients], rows)


def _memory(cases: Sequence[dict[str, Any]]) -> str:
    rows = []
    for case in cases:
        formula, saved = case["formula_bytes"], case["saved_bytes"]
        sizes = [formula["vanilla_nchw"], formula["asi"], *saved.values()]
        cells = _fixed([size / MIB for size in sizes], 3)
        ratios = _fixed([case["ratios"][name] for name in ("asi", "asi_half")], 1)
        rows.append([_case(case), *cells, *ratios, _yes(case["lossless"])])
    titles = ["formula, vanilla", "formula, ASI", "plain vanilla"]
    titles += [_lean(name) for name in list(cases[0]["saved_bytes"])[1:]]
    over = ["plain / lean ASI", "plain / the same, half-precision factors"]
    return _table(["tail", *titles, *over, "lossless"], rows)


def _lean(way: str) -> str:
    """The title of a configuration with lean layers."""
    return "vanilla lean" if way == "vanilla_lean" else f"lean {WAYS[way]}"


def _case(case: dict[str, Any]) -> str:
    return f"{case['model']}, k = {case['layers']}"


def _spread(timing: dict[str, Any]) -> str:
    middle, low, high = (1e3 * timing[name] for name in ("median", "low", "high"))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def _fixed(numbers: Iterable[float], digits: int = 2) -> list[str]:
    shown: Callable[[float], str] = f"{{:.{digits}f}}".format
    return [shown(number) for number in numbers]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---", *["--:"] * (len(titles) - 1)], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    main()
