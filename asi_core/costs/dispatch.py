"""The base of everything here that sees PyTorch's operators as they run."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class OperatorMode(TorchDispatchMode):
    """A dispatch mode that does not import PyTorch's compiler.

    PyTorch hides the modes of others from its compiler, which it imports for that at their first
    operator: 1.8 s. Models that are compiled are refused here before a mode is opened.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
