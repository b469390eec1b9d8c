from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from asi_core.costs.measurement import SavedBytes
from asi_core.layers.lean import lean_
from tests.layers.lean.cases import DTYPES, assert_trains_like, forms, in_form, lean_twin, shapes


@given(
    shapes,
    st.sampled_from(DTYPES),
    forms,
    st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=100)
def test_dropout_is_pytorchs_to_the_last_bit(
    shape: tuple[int, ...], dtype: torch.dtype, form: str, p: float, inplace: bool, training: bool
) -> None:
    plain = nn.Dropout(p, inplace).train(training)
    own = lean_twin(plain).train(training)
    x, grad_output = (in_form(torch.randn(shape).to(dtype), form) for _ in range(2))

    class Drawn(nn.Module):
        """The same numbers each time."""

        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.manual_seed(3)
            return torch.as_tensor(self.layer(x))

    assert_trains_like(Drawn(own), Drawn(plain), x, grad_output)


def test_dropout_keeps_one_bit_per_element() -> None:
    model = nn.Sequential(nn.Dropout(0.3))
    assert lean_(model).replaced == ("0",)
    x = torch.randn(8, 16, requires_grad=True)
    with SavedBytes(model) as saved:
        output = model(x)
    assert saved.total == 8 * 16 // 8
    output.sum().backward()
    assert x.grad is not None
    dropped = output == 0
    assert bool((x.grad[dropped] == 0).all())
    assert x.grad[~dropped].tolist() == pytest.approx([1 / 0.7] * int((~dropped).sum()))
