"""What PyTorch's operators allocate and free within, on the CPU: one rule per operator.

Observed with the allocator's reports (`measured`), not documented by PyTorch. oneDNN computes
convolutions in layouts of its own, for which operands are copied; what it needs besides is not
PyTorch's memory, and not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from asi_core.counting import ceil_div

Rule = Callable[..., int]

# Elements of an input up to which PyTorch computes a convolution of one image itself.
_SMALL = 20480
# oneDNN computes the weight gradient of a depthwise kernel that is large, or larger than the map,
# in blocks of 16 x 16 channels, of which each holds one channel, and then copies it.
_BLOCKED = 16 * 16 + 1


def inside_bytes(func: Any, args: Any, kwargs: Mapping[str, Any]) -> int:
    """Bytes that an operator needs within, above its operands and results; 0 without a rule."""
    rule = RULES.get(func)
    return 0 if rule is None else rule(*args, **kwargs)


def _convolution(x: Tensor, weight: Tensor, *walk: Any) -> int:
    if not _by_onednn(x, weight, walk):
        return _columns(x, weight, walk)
    if _is_channels_last(x) or _is_channels_last(weight):
        return _bytes(weight)
    return _bytes(x) + _bytes(weight)


def _convolution_backward(
    grad_output: Tensor, x: Tensor, weight: Tensor, sizes: Any, *walk: Any, **named: Any
) -> int:
    _, wants_weight, _ = walk[-1]
    # One that is only there for its shape is made dense.
    copied = _bytes(weight) if 0 in weight.stride() else 0
    if not _by_onednn(x, weight, (None, *walk)):
        return copied + _columns(x, weight, (None, *walk))
    if _is_channels_last(x) or _is_channels_last(weight) or _is_channels_last(grad_output):
        if wants_weight and _is_depthwise(weight, walk[-2]) and _is_blocked(x, weight):
            return copied + _BLOCKED * _bytes(weight)
        return copied + (2 if wants_weight else 1) * _bytes(weight)
    return copied + max(_bytes(weight), _bytes(x) + _bytes(grad_output))


def _is_depthwise(weight: Tensor, groups: int) -> bool:
    return groups > 1 and groups == weight.shape[0] and weight.shape[1] == 1


def _is_blocked(x: Tensor, weight: Tensor) -> bool:
    kernel = weight.shape[2:]
    is_larger = any(size < k for size, k in zip(x.shape[2:], kernel, strict=True))
    return min(kernel) > 3 or is_larger


def _by_onednn(x: Tensor, weight: Tensor, walk: Any) -> bool:
    """Whether PyTorch calls oneDNN: for small products it has code of its own."""
    _, stride, _, dilation, _, _, groups, *_ = walk
    is_pointwise = tuple(weight.shape[2:]) == (1, 1)
    walks = set(stride) | set(dilation) != {1}
    is_parallel = torch.get_num_threads() > 1
    is_large = groups > 1 or min(weight.shape[2:]) > 3 or len(x) > 1 or x.numel() > _SMALL
    return is_large and (walks or len(x) >= 16 or not is_pointwise or is_parallel)


def _columns(x: Tensor, weight: Tensor, walk: Any) -> int:
    """The windows of the input, side by side, that become one matrix product."""
    if tuple(weight.shape[2:]) == (1, 1):
        return 0
    _, stride, *_ = walk
    positions = prod(ceil_div(n, s) for n, s in zip(x.shape[2:], stride, strict=True))
    return len(x) * prod(weight.shape[1:]) * positions * x.element_size()


def _batch_norm_backward(grad_output: Tensor, x: Tensor, *others: Any) -> int:
    return 0 if _is_channels_last(x) else _bytes(grad_output)


def _eigh(matrix: Tensor, *others: Any) -> int:
    return 2 * _bytes(matrix)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _is_channels_last(tensor: Tensor) -> bool:
    if tensor.dim() != 4 or tensor.is_contiguous():
        return False
    return tensor.is_contiguous(memory_format=torch.channels_last)


RULES: dict[Any, Rule] = {
    torch.ops.aten.convolution.default: _convolution,
    torch.ops.aten.convolution_backward.default: _convolution_backward,
    torch.ops.aten.native_batch_norm_backward.default: _batch_norm_backward,
    torch.ops.aten._linalg_eigh.default: _eigh,
}
