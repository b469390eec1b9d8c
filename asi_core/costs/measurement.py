"""What PyTorch really keeps for backward, in bytes."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn


class SavedBytes:
    """Counts the unique storages that are saved for backward while it is open.

    Parameters and buffers of `model` are excluded: they exist anyway.
    """

    def __init__(self, model: nn.Module) -> None:
        self._excluded = {t.untyped_storage().data_ptr() for t in model.parameters()}
        self._excluded |= {t.untyped_storage().data_ptr() for t in model.buffers()}
        self._storages: dict[int, int] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)

    @property
    def total(self) -> int:
        """Bytes of all storages seen so far."""
        return sum(self._storages.values())

    def __enter__(self) -> Self:
        self._hooks.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooks.__exit__(kind, error, trace)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._excluded:
            self._storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    def _unpack(self, tensor: Tensor) -> Tensor:
        return tensor
