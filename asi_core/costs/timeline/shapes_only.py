"""Running a step on shapes alone: no weights, no arithmetic, the same operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils.flop_counter import flop_registry

from asi_core.costs.dispatch import OperatorMode
from asi_core.costs.timeline.allocator import Level
from asi_core.costs.timeline.inside import inside_bytes
from asi_core.costs.timeline.known_results import KnownResults
from asi_core.costs.timeline.storages import StorageFollower

_known = KnownResults()


class WithoutNumbers(OperatorMode):
    """While open, every number that is read of a tensor without numbers is 1."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _result(func, args, kwargs or {})


class RuledFollower(StorageFollower):
    """Follows storages; its levels within operators are those of the rules of `inside`."""

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        self.levels += [Level(0, 0), Level(inside_bytes(func, args, kwargs), 0)]
        return self.result(func, args, kwargs)

    def result(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The operator's result."""
        return func(*args, **kwargs)


class ShapeFollower(RuledFollower):
    """Follows a step of tensors without numbers; `WithoutNumbers` holds for it.

    Attributes:
        macs: multiply-accumulates of matrix products and convolutions, as PyTorch's counter has
            them.
    """

    macs: int = 0

    def result(self, func: Any, args: Any, kwargs: Any) -> Any:
        result = _result(func, args, kwargs)
        if (count := flop_registry.get(func._overloadpacket)) is not None:
            self.macs += count(*args, **kwargs, out_val=result) // 2
        return result


def _result(func: Any, args: Any, kwargs: Any) -> Any:
    if func is torch.ops.aten._local_scalar_dense.default:
        return 1.0 if args[0].is_floating_point() else 1
    return _known(func, args, kwargs)


def without_numbers_(model: nn.Module, mode: FakeTensorMode, device: torch.device) -> None:
    """Replace parameters and buffers on the meta device by tensors that seem to be on `device`."""
    known: dict[Tensor, Tensor] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                if parameter not in known:
                    shape = FakeTensor(mode, parameter.detach(), device)
                    known[parameter] = nn.Parameter(shape, parameter.requires_grad)
                module._parameters[name] = known[parameter]  # type: ignore[assignment]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = FakeTensor(mode, buffer.to("meta"), device)
