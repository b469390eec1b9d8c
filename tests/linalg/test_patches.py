"""Gradient filtering compared with a slow, literal version of Yang et al., CVPR 2023."""

from __future__ import annotations

from math import ceil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.layers.conv import conv_geometry
from asi_core.methods import GradientFilter, WarmStart
from tests.geometries import ConvCase, conv_cases


class Oracle:
    """Loops over patches and windows, one element at a time."""

    def __init__(self, case: ConvCase, patch: int) -> None:
        self.conv, self.x, self.grad, self.patch = case.conv, case.x, case.grad_output, patch
        self.stride = case.conv.stride
        self.outputs = tuple(case.grad_output.shape[2:])
        self.patches = tuple(ceil(n / patch) for n in self.outputs)

    def starts(self, axis: int, size: int, window: int) -> list[int]:
        """First index of every window; the windows are centred on the axis."""
        missing = self.patches[axis] * window - size
        return [i * window - ceil(missing / 2) for i in range(self.patches[axis])]

    def cells(self, size: tuple[int, int], windows: tuple[int, int]):  # type: ignore[no-untyped-def]
        rows = self.starts(0, size[0], windows[0])
        columns = self.starts(1, size[1], windows[1])
        for p, top in enumerate(rows):
            for q, left in enumerate(columns):
                inside_rows = slice(max(top, 0), max(top + windows[0], 0))
                inside_columns = slice(max(left, 0), max(left + windows[1], 0))
                yield p, q, inside_rows, inside_columns

    def means(self) -> Tensor:
        result = self.grad.new_zeros(*self.grad.shape[:2], *self.patches)
        for p, q, rows, columns in self.cells(self.outputs, (self.patch, self.patch)):
            result[:, :, p, q] = self.grad[:, :, rows, columns].mean(dim=(2, 3))
        return result

    def windows(self) -> tuple[int, int]:
        return self.patch * self.stride[0], self.patch * self.stride[1]

    def weight_gradient(self) -> Tensor:
        means, weight = self.means(), self.conv.weight
        result = torch.zeros_like(weight)
        size = (self.x.shape[2], self.x.shape[3])
        per_group_out = weight.shape[0] // self.conv.groups
        for p, q, rows, columns in self.cells(size, self.windows()):
            sums = self.x[:, :, rows, columns].sum(dim=(2, 3))
            for out in range(weight.shape[0]):
                first = out // per_group_out * weight.shape[1]
                for channel in range(weight.shape[1]):
                    product = (means[:, out, p, q] * sums[:, first + channel]).sum()
                    result[out, channel] += product
        return result.detach()

    def input_gradient(self) -> Tensor:
        means, weight = self.means(), self.conv.weight.detach()
        result = torch.zeros_like(self.x)
        size = (self.x.shape[2], self.x.shape[3])
        per_group_out = weight.shape[0] // self.conv.groups
        for p, q, rows, columns in self.cells(size, self.windows()):
            for out in range(weight.shape[0]):
                first = out // per_group_out * weight.shape[1]
                for channel in range(weight.shape[1]):
                    value = means[:, out, p, q] * weight[out, channel].sum()
                    result[:, first + channel, rows, columns] += value[:, None, None]
        return result


def gradients(case: ConvCase, patch: int) -> tuple[Tensor, Tensor]:
    method, geometry = GradientFilter(patch=patch), conv_geometry(case.conv)
    saved = method.compress(case.x, tuple(case.grad_output.shape), geometry, WarmStart())
    weight = case.conv.weight.detach()
    return (
        method.weight_gradient(saved, case.grad_output, tuple(weight.shape), geometry),
        method.input_gradient(case.grad_output, weight, tuple(case.x.shape), geometry),
    )


@given(conv_cases(), st.integers(1, 4) | st.sampled_from([9, 4096]))
def test_gradients_are_the_papers(case: ConvCase, patch: int) -> None:
    if min(case.conv.dilation) >= max(patch, 2):
        return  # the dilated form has its own test
    oracle = Oracle(case, patch)
    weight_gradient, input_gradient = gradients(case, patch)
    assert_close(weight_gradient, oracle.weight_gradient())
    assert_close(input_gradient, oracle.input_gradient())


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_dilated_form_convolves_patch_means(groups: int) -> None:
    """With R = 2 and dilation 4 the kernel steps two patches: a plain convolution of means."""
    conv = nn.Conv2d(4, 4, 3, padding=4, dilation=4, groups=groups, bias=False, dtype=torch.float64)
    x = torch.randn(2, 4, 12, 12, dtype=torch.float64)
    case = ConvCase(conv, x, torch.randn(2, 4, 12, 12, dtype=torch.float64))
    means = Oracle(case, 2).means()
    coarse = nn.functional.conv_transpose2d(
        means, conv.weight.detach(), padding=2, dilation=2, groups=groups
    )
    expected = coarse.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    weight_gradient, input_gradient = gradients(case, 2)
    assert_close(input_gradient, expected)
    assert_close(weight_gradient, Oracle(case, 2).weight_gradient())


def test_constant_fields_are_filtered_without_error() -> None:
    """Where nothing varies inside a patch, the filter's pointwise gradients are exact."""
    conv = nn.Conv2d(3, 2, 1, bias=False, dtype=torch.float64)
    tile = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    x = torch.kron(torch.randn(4, 3, 3, 3, dtype=torch.float64), tile)
    case = ConvCase(conv, x, torch.kron(torch.randn(4, 2, 3, 3, dtype=torch.float64), tile))
    from tests.geometries import autograd_gradients

    grad_x, grad_weight = autograd_gradients(case)
    weight_gradient, input_gradient = gradients(case, 2)
    assert_close(weight_gradient, grad_weight)
    assert_close(input_gradient, grad_x)
