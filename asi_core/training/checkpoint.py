"""The state that a run needs to resume, as one file.

A run has no random generator with a state: the order of the images depends on the seed and the
epoch, a cold start on the layer. So the state is weights, optimiser, warm starts and the step.
"""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from asi_core.errors import Unavailable, one_sentence
from asi_core.layers.warm_starts import load_warm_starts_, ranks_in, warm_start_tensors
from asi_core.records import Ranks
from asi_core.training.optimisers import Optimiser
from asi_core.training.spec import RunSpec

_MODEL, _OPTIMISER = "model.", "optimiser."


@dataclass(frozen=True, slots=True)
class TrainingState:
    """A run after `step` steps.

    Attributes:
        spec: the run's specification.
        tensors: by name, with their strides in the run: other strides can round differently.
        seconds: training time up to here, over all attempts.
        sources: keys of the pretrained weights and the images; empty if they were not recorded.
    """

    spec: RunSpec
    step: int
    tensors: dict[str, Tensor]
    seconds: float = 0.0
    sources: str = ""


def state_of(
    spec: RunSpec,
    step: int,
    model: nn.Module,
    optimiser: Optimiser,
    sources: str,
) -> TrainingState:
    """Copies of everything that the next steps depend on."""
    of_model = {**model.state_dict(), **warm_start_tensors(model)}
    tensors = {_MODEL + name: _copy(value) for name, value in of_model.items()}
    for index, values in optimiser.state_by_index().items():
        for name, value in values.items():
            tensors[f"{_OPTIMISER}{index}.{name}"] = _copy(value)
    return TrainingState(spec, step, tensors, sources=sources)


def restore_(state: TrainingState, model: nn.Module, optimiser: Optimiser, sources: str) -> None:
    """Set a model and its optimiser to `state`.

    Raises:
        Unavailable: if the state is of another model, or of one with another frozen part or other
            images; nothing is changed then.
    """
    if state.sources and state.sources != sources:
        raise Unavailable(
            "the pretrained weights or the images have changed since the checkpoint: the run "
            "starts over."
        )
    tensors = {
        name.removeprefix(_MODEL): _copy(value)
        for name, value in state.tensors.items()
        if name.startswith(_MODEL)
    }
    weights = {name: value for name, value in tensors.items() if _lasting(name)}
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if {name: tuple(value.shape) for name, value in weights.items()} != shapes:
        raise Unavailable("the checkpoint is of another model: the run starts over.")
    model.load_state_dict(weights)
    load_warm_starts_(model, {n: value for n, value in tensors.items() if not _lasting(n)})
    found: dict[int, dict[str, Tensor]] = {}
    for name, value in state.tensors.items():
        if name.startswith(_OPTIMISER):
            index, key = name.removeprefix(_OPTIMISER).split(".", 1)
            found.setdefault(int(index), {})[key] = _copy(value)
    optimiser.restore_state(found)


def ranks_of(state: TrainingState) -> dict[str, Ranks]:
    """The ranks of the trained layers in `state`, by layer name; without those that have none."""
    ranks = ranks_in(state.tensors)
    return {name.removeprefix(_MODEL): found for name, found in ranks.items()}


def write_state(state: TrainingState, path: Path) -> None:
    """Replace the file at `path` atomically.

    Raises:
        OSError: if the disk is full or not writable; the previous file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    dense = {name: value.contiguous() for name, value in state.tensors.items()}
    facts = {
        "spec": state.spec.model_dump(mode="json"),
        "step": state.step,
        "seconds": state.seconds,
        "sources": state.sources,
        "strides": {name: value.stride() for name, value in state.tensors.items()},
        "checksum": _checksum(dense),
    }
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        save_file(dense, part, {"facts": json.dumps(facts)})
        _reach_disk(part)
        part.replace(path)
    except SafetensorError as error:
        # How safetensors reports a full disk.
        raise OSError(one_sentence(error)) from error
    finally:
        part.unlink(missing_ok=True)


def read_state(path: Path, spec: RunSpec, device: torch.device) -> TrainingState | None:
    """The state at `path`; None if there is none.

    Raises:
        Unavailable: if it is damaged, or of another run.
    """
    if not path.exists():
        return None
    try:
        facts, dense = _read(path, device)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise Unavailable(
            f"the checkpoint cannot be read ({one_sentence(error).rstrip('.')}): "
            "the run starts over."
        ) from error
    if facts["checksum"] != _checksum(dense):
        raise Unavailable("the checkpoint is damaged: the run starts over.")
    if facts["spec"] != spec.model_dump(mode="json"):
        raise Unavailable("the checkpoint belongs to another run: the run starts over.")
    strides = facts["strides"]
    tensors = {name: _strided(value, strides[name]) for name, value in dense.items()}
    return TrainingState(spec, facts["step"], tensors, facts["seconds"], facts.get("sources", ""))


def _read(path: Path, device: torch.device) -> tuple[dict[str, Any], dict[str, Tensor]]:
    with safe_open(path, "pt", device=str(device)) as file:
        facts: dict[str, Any] = json.loads(file.metadata()["facts"])
        return facts, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _lasting(name: str) -> bool:
    return ".warm_start." not in name


def _copy(value: Tensor) -> Tensor:
    return _strided(value.detach(), value.stride())


def _strided(value: Tensor, stride: tuple[int, ...]) -> Tensor:
    """A copy with the strides `stride`."""
    return torch.empty_strided(
        value.shape, tuple(stride), dtype=value.dtype, device=value.device
    ).copy_(value)


def _checksum(tensors: dict[str, Tensor]) -> int:
    found = 0
    for name in sorted(tensors):
        found = zlib.crc32(name.encode(), found)
        for piece in _pieces(tensors[name]):
            found = zlib.crc32(piece, found)
    return found


def _pieces(tensor: Tensor) -> Iterator[memoryview]:
    flat = tensor.detach().cpu().contiguous().flatten()
    if flat.numel():
        yield flat.view(torch.uint8).numpy().data


def _reach_disk(path: Path) -> None:
    """Wait until the file is on disk, so that a power failure leaves the old or the new one."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
