"""Reading checkpoints: tensors only, nothing is unpickled."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from asi_core.errors import Unavailable


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """A state dict from a safetensors file or a PyTorch checkpoint of plain tensors.

    Raises:
        Unavailable: if the file is damaged or contains anything except tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise any error
        raise Unavailable(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): download it again."
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise Unavailable(f"{path} contains no state dict: save model.state_dict() instead.")
    return state
