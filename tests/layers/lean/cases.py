"""Layers, inputs and bit-for-bit comparisons for all tests of lean layers."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.layers.lean import lean_
from asi_core.layers.lean.registry import LEAN as LEAN_FORMS

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
ORDERS = [torch.contiguous_format, torch.channels_last]
FORMS = ["contiguous", "channels last", "transposed", "every second"]
SPECIAL = [nan, inf, -inf, 0.0, -0.0, 6.0, 1e-45, 5.9999995, 6.0000005, -1.0, 3.0]
LEAN = tuple(LEAN_FORMS.values())

shapes = st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 9), st.integers(1, 9))
forms = st.sampled_from(FORMS)


@st.composite
def values(draw: st.DrawFn, shape: tuple[int, ...], special: Sequence[float]) -> Tensor:
    """Numbers around 0 and 6, a third of them taken from `special`."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    drawn = torch.randint(len(special), shape, generator=generator)
    is_special = torch.rand(shape, generator=generator) < 1 / 3
    plain = 4 * torch.randn(shape, generator=generator)
    return torch.where(is_special, torch.tensor(special)[drawn], plain)


def in_form(values: Tensor, form: str) -> Tensor:
    """The same numbers in another memory layout."""
    if form == "channels last":
        return values.contiguous(memory_format=torch.channels_last)
    if form == "transposed":
        return values.transpose(0, 3).contiguous().transpose(0, 3)
    if form == "every second":
        return values.repeat_interleave(2, dim=3).clone()[..., ::2]
    return values


def random_norm(channels: int, *, affine: bool = True) -> nn.BatchNorm2d:
    """Frozen, in evaluation mode, with other statistics than a new layer's."""
    torch.manual_seed(channels)
    norm = nn.BatchNorm2d(channels, affine=affine, eps=1e-3)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.01, 3)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm.eval().requires_grad_(False)


def lean_twin(plain: nn.Module) -> nn.Module:
    """A lean layer with the parameters of `plain`."""
    holder = nn.Sequential(plain)
    assert lean_(holder).replaced == ("0",)
    assert isinstance(holder[0], LEAN)
    return holder[0]


def assert_trains_like(own: nn.Module, plain: nn.Module, x: Tensor, grad_output: Tensor) -> None:
    """Output and gradient to the last bit (NaN equals NaN), lying in memory in the right order.

    The output lies as the plain layer's does, and the gradient as the input does.
    """
    expected, expected_gradient = output_and_gradient(plain, x, grad_output)
    found, gradient = output_and_gradient(own, x, grad_output)
    assert _steps(found) == _steps(expected)
    assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert_close(gradient, expected_gradient, rtol=0, atol=0, equal_nan=True)
    is_whole = x.numel() and gradient.shape == x.shape
    if is_whole and any(x.is_contiguous(memory_format=order) for order in ORDERS):
        assert _steps(gradient) == _steps(x)


def _steps(x: Tensor) -> list[int]:
    """Strides, except for modes of size 1, where they mean nothing and PyTorch's own vary."""
    return [step for step, size in zip(x.stride(), x.shape, strict=True) if size != 1]


def output_and_gradient(layer: nn.Module, x: Tensor, grad_output: Tensor) -> tuple[Tensor, Tensor]:
    """Of a non-leaf, because a leaf cannot be changed in place; of a view, if `x` is one."""
    whole = (x._base if x._is_view() and not _dense(x) else x).detach().requires_grad_()
    moved = whole * 1
    output = layer(moved if _dense(x) else moved[..., ::2])
    return output.detach().clone(), torch.autograd.grad(output, whole, grad_output)[0]


def _dense(x: Tensor) -> bool:
    return x.numel() == x.untyped_storage().nbytes() // x.element_size()


def loss_and_gradients(model: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Loss, and gradients of all trained parameters, in their order."""
    logits = model(*(x.clone() for x in inputs))
    loss = F.cross_entropy(logits.flatten(1), torch.arange(len(logits)))
    wanted = [p for p in model.parameters() if p.requires_grad]
    return [loss.detach(), *torch.autograd.grad(loss, wanted)]


def assert_all_equal(model: nn.Module, twin: nn.Module, inputs: Sequence[Tensor]) -> None:
    expected = loss_and_gradients(model, inputs)
    assert len(expected) > 1
    for own, native in zip(loss_and_gradients(twin, inputs), expected, strict=True):
        assert torch.equal(own, native)


def assert_all_close(model: nn.Module, twin: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Equal up to the rounding of sums in different orders."""
    expected = loss_and_gradients(model, inputs)
    largest = max(float(native.norm()) for native in expected)
    for own, native in zip(loss_and_gradients(twin, inputs), expected, strict=True):
        assert (own - native).norm() <= 5e-6 * native.norm() + 1e-7 * largest


def types(model: nn.Module) -> dict[str, type[nn.Module]]:
    """Types of the layers, by name. Every traced model has a separate type."""
    return {name: type(layer) for name, layer in model.named_modules() if name}


class Functional(nn.Module):
    """Every way to call a function that has a lean form."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.relu_1 = nn.Conv2d(4, 4, 1)  # the name of a node, too

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu_1(F.relu(self.conv(x)))
        x = F.relu(x + 1, inplace=True) * 2
        x = F.relu6(input=x - 1, inplace=True) - 1
        x = torch.relu(x) - torch.relu_(x - 2)
        x = (x - 1).relu() - x.mul(2).relu_()
        return F.relu(F.relu6(x, True) - 0.1, True)
