"""References to storages that do not keep them alive."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

from asi_core.errors import Unsupported


def tensors_in(values: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


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
