"""References to storages that do not keep them alive."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

from asi_core.errors import Unsupported

_LEAVES = frozenset({int, float, bool, str, type(None)})


def tensors_in(values: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    found: list[Tensor] = []
    _add_tensors(values, found)
    return found


def _add_tensors(values: Any, found: list[Tensor]) -> None:
    if isinstance(values, Tensor):
        found.append(values)
    elif type(values) in (tuple, list):
        # Operators' arguments: much quicker than by PyTorch's trees.
        for value in values:
            _add_tensors(value, found)
    elif type(values) not in _LEAVES:
        found += [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def storage_reference(tensor: Tensor) -> StorageWeakRef:
    """A reference that identifies a tensor's storage, also after it is freed.

    Raises:
        Unsupported: if the tensor has no storage.
    """
    try:
        return StorageWeakRef(tensor.untyped_storage())
    except NotImplementedError as error:
        raise Unsupported(
            f"a tensor of shape {tuple(tensor.shape)} and layout {tensor.layout} has no storage "
            "whose bytes could be counted: measure the model with dense tensors."
        ) from error
