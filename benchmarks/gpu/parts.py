"""The parts of the check. Each runs in a process of its own, and yields rows as they are found.

A row is a mapping for JSON. Its "failures" are sentences; a row with none of them has passed. A row
that only says why something was left out has "skipped".
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asi_core.bench.end_to_end import BATCHES
from asi_core.bench.environment import environment
from asi_core.bench.report import bench
from asi_core.bench.tails import Case
from asi_core.costs.timeline.records import Category, Timeline
from asi_core.errors import AsiError, one_sentence
from asi_core.methods import METHODS, USUAL_RANKS, Method
from asi_core.testing import CHECKS, Arithmetic
from asi_core.testing.methods import gradient_errors
from asi_core.training.checkpoint import TrainingState, read_state, write_state
from asi_core.training.events import StepEvent
from asi_core.training.features import FeaturePool
from asi_core.training.formula_memory import formula_memory
from asi_core.training.loop import fine_tune
from asi_core.training.measuring import measure_memory
from asi_core.training.setup import device_named
from asi_core.training.spec import RunSpec
from asi_core.units import GIB, MIB
from asi_core.zoo.cards import MODELS
from benchmarks import default_comparison

Row = dict[str, Any]

# Of a run that goes on from a file, relative to the loss: sums may be added up in another order.
_RESUMED_LOSS = 1e-4
# In which the bench makes as few rounds as it can.
_LEAST_MINUTES = 0.01
# Of the peaks by formula, which are the processor's, and as measured.
_SIMILAR = 0.1


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done.

    Attributes:
        methods: of which runs are resumed, and steps of the first network are measured.
        networks: of which the memory of a step is measured, with the batch; of all but the first
            with the most different methods.
        image_size: of those, pixels.
        cases: of the bench.
        minutes: of the bench, approximately.
        comparison: what differs in the runs of the default comparison.
        left_out: what this scale leaves out of the full one, in sentences.
    """

    methods: tuple[str, ...]
    networks: Mapping[str, int]
    image_size: int
    cases: tuple[Case, ...]
    minutes: float
    comparison: Mapping[str, Any]
    left_out: tuple[str, ...] = ()


# What they keep, and how they compute, differs the most.
_DIFFERENT = ("vanilla", "asi", "hosvd", "checkpointing", "eight_bit")

FULL = Scale(
    methods=tuple(METHODS),
    networks={"mcunet_in1": 64, "mobilenet_v2": 64, "resnet18": 16, "vit_b_32": 16},
    image_size=224,
    cases=tuple(
        Case(network, 2, batch)
        for batch in BATCHES
        for network in ("mcunet_in1", "mobilenet_v2", "resnet18")
    ),
    minutes=0.8,
    comparison={},
)
# The processor has been measured elsewhere at length: here it shows that the check itself works.
SHORT = Scale(
    methods=_DIFFERENT[:3],
    networks={"mcunet_in1": 8},
    image_size=64,
    cases=(Case("mcunet_in1", 2, 16, 64),),
    minutes=0.02,
    comparison={"steps": 4, "evaluate_every": 4, "probe_every": 4, "image_size": 40, "layers": 2},
    left_out=(
        "On the processor, runs are resumed and steps measured with three methods",
        "On the processor, memory and bench are of one small case",
        "On the processor, the default comparison is of 4 steps, 2 layers and images of 40 pixels",
    ),
)


def scale_of(device: torch.device) -> Scale:
    """The full scale; the short one on the processor."""
    return SHORT if device.type == "cpu" else FULL


def contract(device: torch.device, dtype: torch.dtype) -> Iterator[Row]:
    """All checks of the contract of methods in one precision, method by method."""
    arithmetic = Arithmetic(device, dtype)
    if (why := why_not(arithmetic)) is not None:
        yield {"skipped": f"{_name(dtype)}: PyTorch's own layers do not compute in it here ({why})"}
        return
    for kind in sorted(METHODS):
        yield contract_of(METHODS[kind], arithmetic)


def contract_of(method: type[Method], arithmetic: Arithmetic) -> Row:
    """All checks of the contract for a method's examples: how many, and which failed."""
    started, failures, examples = time.perf_counter(), [], method.examples()
    for example in examples:
        for check in CHECKS:
            try:
                check(example, arithmetic)
            # Whatever a device makes of it is the finding.
            except Exception as error:
                name = check.__name__.replace("_", " ")
                failures.append(f"{example.settings_label}: {name}: {_short(error)}")
    try:
        errors = [error for example in examples for error in gradient_errors(example, arithmetic)]
    except Exception as error:
        failures.append(f"gradients could not be compared: {_short(error)}")
        errors = []
    return {
        "method": method.label,
        "dtype": _name(arithmetic.dtype),
        "checks": len(examples) * len(CHECKS),
        "gradient_error": max(errors, default=None),
        "tolerance": arithmetic.tolerance,
        "seconds": time.perf_counter() - started,
        "failures": failures,
    }


def why_not(arithmetic: Arithmetic) -> str | None:
    """Why PyTorch's own layers do not compute so; None if they do."""
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(4 * 4 * 4, 2))
    x = torch.ones(2, 4, 6, 6).to(arithmetic.device, arithmetic.dtype)
    try:
        model.to(arithmetic.device, arithmetic.dtype)(x).sum().backward()
    except RuntimeError as error:
        return _short(error)
    return None


def resume(device: torch.device) -> Iterator[Row]:
    """Runs that go on from a checkpoint's file, beside the same runs undisturbed."""
    pool = FeaturePool(GIB)
    with tempfile.TemporaryDirectory() as folder:
        for kind in scale_of(device).methods:
            method = METHODS[kind].examples()[0]
            try:
                spec = _small_run(method)
            except ValueError as error:
                yield {"skipped": f"resume, {method.label}: {one_sentence(error)}"}
                continue
            yield _resumed(spec, pool, device, Path(folder) / f"{kind}.safetensors")


def _small_run(method: Method) -> RunSpec:
    small = {"layers": 1, "steps": 4, "batch_size": 8, "image_size": 32, "probe_every": 2}
    given = {"model": "mcunet_in1", "pretrained": False, "method": method, "evaluate_every": 4}
    return RunSpec.model_validate({**small, **given})


def _resumed(spec: RunSpec, pool: FeaturePool, device: torch.device, path: Path) -> Row:
    failures, difference = [], None
    states: list[TrainingState] = []
    try:
        whole = list(fine_tune(spec, features=pool, keep=states.append))
        halfway = next(state for state in states if state.step == spec.steps // 2)
        write_state(halfway, path)
        found = read_state(path, spec, device)
        rest = list(fine_tune(spec, features=pool, resume=found))
        pairs = zip(_losses(whole)[-len(_losses(rest)) :], _losses(rest), strict=True)
        difference = max(abs(a - b) / abs(a) for a, b in pairs)
        if len(_losses(rest)) != spec.steps - halfway.step:
            failures.append("the run started over")
        if difference > _RESUMED_LOSS:
            failures.append(f"the losses differ by {difference:.1e}")
    except Exception as error:
        failures.append(_short(error))
    return {"method": spec.method.settings_label, "difference": difference, "failures": failures}


def _losses(events: list[Any]) -> list[float]:
    return [event.loss for event in events if isinstance(event, StepEvent)]


def memory(device: torch.device) -> Iterator[Row]:
    """The memory of a step over time, by two counts and by formula."""
    scale, pool = scale_of(device), FeaturePool(2 * GIB)
    for number, (network, batch) in enumerate(scale.networks.items()):
        kinds = [kind for kind in scale.methods if number == 0 or kind in _DIFFERENT]
        for method in _methods_for(network, kinds):
            given = {"model": network, "pretrained": False, "method": method, "layers": 4}
            size = {"batch_size": batch, "image_size": scale.image_size}
            yield memory_of(RunSpec.model_validate({**given, **size}), pool)


def memory_of(spec: RunSpec, pool: FeaturePool) -> Row:
    """One step's kept and peak bytes: measured on the device, and by formula on the processor."""
    named = {"network": MODELS[spec.model].title, "method": spec.method.label}
    try:
        measured = measure_memory(spec, pool)
        # Ranks that depend on the images have no formula beforehand.
        formula = None if spec.method.depends_on_images else formula_memory(spec)
    except Exception as error:
        return {**named, "failures": [_short(error)]}
    sizes = {"kept_bytes": measured.kept_bytes, "peak_bytes": measured.peak.nbytes}
    row = {**named, "device": measured.device, "batch": spec.batch_size, **sizes, "failures": []}
    return row if formula is None else {**row, **_beside_formula(measured, formula)}


def _beside_formula(measured: Timeline, formula: Timeline) -> Row:
    difference = measured.peak.nbytes / formula.peak.nbytes - 1
    # Of other layers, such as attention, PyTorch keeps what its kernels on the device need.
    own, expected = (
        max(one.levels(Category.TRAINED_INPUTS), default=0) for one in (measured, formula)
    )
    wrong = f"trained layers keep {own} bytes, {expected} by formula"
    return {
        "formula_kept_bytes": formula.kept_bytes,
        "formula_peak_bytes": formula.peak.nbytes,
        "difference": difference,
        "largest": "" if abs(difference) <= _SIMILAR else _largest(measured),
        "failures": [] if own == expected else [wrong],
    }


def _largest(measured: Timeline) -> str:
    use, nbytes = next(iter(measured.peak.by_use.items()))
    moment = measured.peak.moment
    return f"{use} in {moment.operator} of {moment.place}: {nbytes / MIB:.2f} MiB"


def _methods_for(network: str, kinds: Sequence[str]) -> Iterator[Method]:
    card = MODELS[network]
    ranks = USUAL_RANKS if card.modes == len(USUAL_RANKS) else USUAL_RANKS[0]
    for method in (METHODS[kind] for kind in kinds):
        if method.why_unsupported(card.usual_geometry) is None:
            given = {"ranks": ranks} if "ranks" in method.model_fields else {}
            yield method.model_validate(given) if given else method.usual()


def kept(device: torch.device) -> Iterator[Row]:
    """The bench's bytes, which two meters count, and whether lean layers lose nothing."""
    for case in _of_least_batch(scale_of(device).cases):
        (found,) = bench(_LEAST_MINUTES, device, ("memory",), _quiet, [case])["memory"]
        lossy = [] if found["lossless"] else ["lean layers changed a bit of the gradients"]
        yield {**found, "failures": lossy}


def steps(device: torch.device) -> Iterator[Row]:
    """The bench's steps, case by case, and then its layers: with PyTorch's defaults, as users."""
    scale = scale_of(device)
    for case in scale.cases:
        minutes = scale.minutes / len(scale.cases)
        yield bench(minutes, device, ("end_to_end",), _quiet, [case]) | {"failures": []}
    layers = _of_least_batch(scale.cases)
    yield bench(_LEAST_MINUTES, device, ("kernels",), _quiet, layers) | {"failures": []}


def _of_least_batch(cases: Sequence[Case]) -> list[Case]:
    least = min(case.batch_size for case in cases)
    return [case for case in cases if case.batch_size == least]


def _quiet(line: str) -> None:
    """Rows alone are printed."""


def comparison(device: torch.device) -> Iterator[Row]:
    """The Train page's first comparison by the app's own engine, cold and then warm."""
    changes = scale_of(device).comparison
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        own = {"ASI_DEVICE": str(device), "ASI_FEATURES_DIR": str(root / "features")}
        cold = default_comparison.once(root / "cold", changes, **own)
        yield _compared("cold", cold, cold, device)
        yield _compared(
            "warm", default_comparison.once(root / "warm", changes, **own), cold, device
        )


def _compared(name: str, found: Row, first: Row, device: torch.device) -> Row:
    elsewhere = [one for one in found["devices"] if torch.device(one).type != device.type]
    return {
        "features": name,
        "seconds": found["seconds"],
        "ready_seconds": found["ready_seconds"],
        "accuracies": found["accuracies"],
        "difference": default_comparison.largest_difference(first["curves"], found["curves"]),
        "failures": [f"runs were trained on {one}" for one in elsewhere],
    }


def arithmetic_exactly_() -> None:
    """Let PyTorch compute in the precision asked for, the same way each time."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the check.

    Attributes:
        seconds: after which it is stopped on an accelerator; all together take under 8 minutes.
        exact: whether PyTorch computes deterministically and without TF32.
    """

    title: str
    rows: Callable[[torch.device], Iterator[Row]]
    seconds: float
    exact: bool = True


def _contract_in(dtype: torch.dtype) -> Part:
    return Part(
        f"Contract of methods, {_name(dtype)}", lambda device: contract(device, dtype), 60.0
    )


PARTS: Mapping[str, Part] = {
    "float32": _contract_in(torch.float32),
    "bfloat16": _contract_in(torch.bfloat16),
    "float16": _contract_in(torch.float16),
    "resume": Part("Runs resumed from a checkpoint", resume, 40.0),
    "memory": Part("Memory of a step over time", memory, 60.0),
    "kept": Part("Bytes kept for backward", kept, 25.0),
    "steps": Part("Bench", steps, 80.0, exact=False),
    "comparison": Part("Default comparison", comparison, 80.0, exact=False),
}


def run_part(name: str, device_name: str) -> Iterator[Row]:
    """The rows of a part, computed in this process; the first is the machine's description."""
    device = device_named(device_name)
    if PARTS[name].exact:
        arithmetic_exactly_()
        # Their networks are tiny: on a busy processor, threads wait for each other.
        torch.set_num_threads(1)
    yield {"environment": environment(device)}
    yield from PARTS[name].rows(device)


def _short(error: Exception) -> str:
    text = one_sentence(error)
    named = text if isinstance(error, AsiError) else f"{type(error).__name__}: {text}"
    return named[:300]
