"""Equations compared with the counts that they show, to the byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_core.costs.formulas import layer_formulas
from asi_core.fields import Setting
from asi_core.methods import (
    ASI,
    HOSVD,
    METHODS,
    WASI,
    Checkpointing,
    EightBit,
    FixedSubspace,
    GradientFilter,
    LoRA,
    LoRAFA,
    LoRAOverASI,
    Method,
    Sparse,
    Vanilla,
    VeLoRA,
)
from asi_core.methods.costs import capped_ranks
from asi_core.records import Convention, ConvGeometry, LayerShape, Ranks
from asi_core.zoo.cards import MODELS
from asi_core.zoo.shapes import tabled_sizes, trained_layer_shapes
from tests.plugins import Thinned

CONVENTIONS: tuple[Convention, ...] = ("paper", "exact")
EXAMPLES: list[Method] = [
    Vanilla(),
    ASI(ranks=3),
    ASI(ranks=3, sequential=False),
    ASI(ranks=3, refresh_every=3),
    ASI(ranks=3, update="one_step_late"),
    ASI(ranks=3, update="one_step_late", bits=8),
    ASI(ranks=3, update="every_step"),
    ASI(ranks=3, update="every_step", bits=8),
    ASI(ranks=3, bits=16),
    ASI(ranks=3, bits=8),
    HOSVD(ranks=3),
    HOSVD(ranks=3, solver="svd"),
    GradientFilter(patch=2),
    GradientFilter(patch=3),
    EightBit(),
    Checkpointing(),
    FixedSubspace(ranks=3),
    VeLoRA(subtoken=7),
    VeLoRA(subtoken=1),
    LoRA(lora_rank=3),
    LoRAFA(),
    LoRAOverASI(ranks=3),
    WASI(ranks=3, weight_rank=5),
    Sparse(),
]


def assert_equal(
    method: Method, shape: LayerShape, ranks: Ranks | None, convention: Convention
) -> None:
    formulas = layer_formulas(method, shape, ranks, convention)
    macs = method.macs(shape, ranks, convention).as_dict()
    assert formulas["kept"].value == method.saved_bytes(shape, ranks, convention)
    for part in ("forward", "overhead", "input_gradient", "weight_gradient"):
        assert formulas[part].value == macs[part], (part, formulas[part].expression)


def test_every_method_has_equations() -> None:
    assert {method.kind for method in EXAMPLES} == set(METHODS)


@pytest.mark.parametrize("name", MODELS)
@given(data=st.data())
def test_equations_of_zoo_layers_come_out_as_counted(name: str, data: st.DataObject) -> None:
    card = MODELS[name]
    size, batch = data.draw(st.sampled_from(tabled_sizes(card))), data.draw(st.integers(1, 256))
    count = data.draw(st.integers(1, card.layer_count))
    shape = data.draw(st.sampled_from(trained_layer_shapes(name, count, batch, size)))
    method = data.draw(st.sampled_from(EXAMPLES))
    if method.why_unsupported_layer(shape.geometry, shape.weight_shape) is not None:
        return
    ranks = None
    if method.has_ranks:
        wanted = st.tuples(*(st.integers(1, most + 2) for most in shape.input_shape))
        ranks = capped_ranks(data.draw(wanted), shape.input_shape)
    assert_equal(method, shape, ranks, data.draw(st.sampled_from(CONVENTIONS)))


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("method", EXAMPLES, ids=lambda m: m.settings_label)
def test_what_no_model_of_the_zoo_has(method: Method, convention: Convention) -> None:
    """A dilated, grouped, strided kernel with an input whose channel unfolding is tall."""
    shape = LayerShape(
        "odd",
        (2, 240, 5, 6),
        (2, 12, 2, 2),
        (12, 60, 3, 2),
        ConvGeometry((2, 1), (1, 1, 0, 0), (3, 4), 4),
        has_input_gradient=True,
    )
    for ranks in ((1, 7, 2, 3), (2, 240, 5, 6), (2, 50, 5, 1)):
        own = ranks if method.has_ranks else None
        assert_equal(method, shape, own, convention)
        assert_equal(method, replace(shape, has_input_gradient=False), own, convention)
        assert_equal(method, replace(shape, opens_block=False), own, convention)


class Odd(Thinned):
    """Counts with unusual arithmetic: a fractional setting, and negative numbers."""

    letters: ClassVar[Mapping[str, str]] = {"every": "n", "share": "s"}
    share: Annotated[float, Setting("Share", "Of what is kept.", above=0, most=1)] = 0.5

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        whole = super().saved_bytes(shape, ranks, convention)
        return (2 - 3) * -int(whole * self.share) + shape.input_shape[0] * (1 - 2)


def test_a_count_by_other_arithmetic_is_shown_as_far_as_it_is_known() -> None:
    (shape,) = trained_layer_shapes("efficientnet_lite0", 1, 16, 64)
    method = Odd(every=3, share=0.25)
    found = layer_formulas(method, shape, None, "exact")["kept"]
    assert found.value == method.saved_bytes(shape, None, "exact") > 0
    assert "".join(found.symbols()).endswith(r"B \cdot \left(0 - 1\right)")
    assert found.numbers()
