"""Warm starts as tensors by name, to be kept beside a state dict, which has none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from asi_core.errors import InvalidInput
from asi_core.layers.compressed import CompressedLayer
from asi_core.methods.base import WarmStart
from asi_core.records import Ranks

_START = "warm_start."
_RANKS, _AGE, _FACTOR = f"{_START}ranks", f"{_START}age", f"{_START}factor_"
_ENERGY = f"{_START}energy"
_WEIGHT_FACTOR = f"{_START}weight_factor"


def warm_starts(model: nn.Module) -> dict[str, Tensor]:
    """What the compressed layers of `model` carry to the next step: ranks and factors.

    Returns:
        Contiguous copies, by the layer's name and what it is; empty before the first step. They
        can be saved as a state dict can, with `torch.save` or safetensors.

    Example:
        >>> torch.save([model.state_dict(), warm_starts(model)], "checkpoint.pt")
    """
    return {key: value.clone().contiguous() for key, value in warm_start_tensors(model).items()}


def warm_start_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The same tensors themselves, as they lie in memory."""
    found: dict[str, Tensor] = {}
    for name, layer in _compressed(model):
        prefix, memory = _prefix(name), layer.memory
        if memory.ranks is not None:
            found[prefix + _RANKS] = torch.tensor(memory.ranks)
        if memory.factors:
            found[prefix + _AGE] = torch.tensor(memory.age)
        if memory.energy is not None:
            found[prefix + _ENERGY] = torch.tensor(memory.energy, dtype=torch.float64)
        if memory.weight_factor is not None:
            found[prefix + _WEIGHT_FACTOR] = memory.weight_factor.detach()
        for mode, factor in memory.factors.items():
            found[f"{prefix}{_FACTOR}{mode}"] = factor.detach()
    return found


def ranks_in(state: Mapping[str, Tensor]) -> dict[str, Ranks]:
    """The ranks among warm starts, by the name before them."""
    ending = f".{_RANKS}"
    return {
        key.removesuffix(ending): tuple(value.tolist())
        for key, value in state.items()
        if key.endswith(ending)
    }


def load_warm_starts_(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Set the warm starts of `model` to what `warm_starts` returned, in place.

    A layer of which `state` has nothing keeps its planned or found ranks, and its factors start
    from random directions.

    Raises:
        InvalidInput: if there is no compressed layer of a name; nothing is changed then.
    """
    layers = {_prefix(name): layer for name, layer in _compressed(model)}
    own: dict[str, dict[str, Tensor]] = {prefix: {} for prefix in layers}
    for key, value in state.items():
        name, found, what = key.rpartition(_START)
        if not found or name not in layers:
            raise InvalidInput(
                "warm starts must be those of compressed layers of the model",
                repr(key),
                "compress the same layers before loading them",
            )
        own[name][found + what] = value
    for prefix, layer in layers.items():
        layer.remember_(_memory(layer.memory, own[prefix]))


def _prefix(name: str) -> str:
    return f"{name}." if name else ""


def _memory(before: WarmStart, own: Mapping[str, Tensor]) -> WarmStart:
    ranks, age, of_weight = own.get(_RANKS), own.get(_AGE), own.get(_WEIGHT_FACTOR)
    energy = own.get(_ENERGY)
    return WarmStart(
        seed=before.seed,
        ranks=before.ranks if ranks is None else tuple(ranks.tolist()),
        factors={
            int(key.removeprefix(_FACTOR)): value.detach().clone()
            for key, value in own.items()
            if key.startswith(_FACTOR)
        },
        energy=None if energy is None else float(energy),
        weight_factor=None if of_weight is None else of_weight.detach().clone(),
        age=0 if age is None else int(age),
    )


def _compressed(model: nn.Module) -> Iterator[tuple[str, CompressedLayer]]:
    for name, layer in model.named_modules():
        if isinstance(layer, CompressedLayer):
            yield name, layer
