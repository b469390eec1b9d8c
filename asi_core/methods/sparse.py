"""Sparse updates: biases of all trained layers, weights of those that pay within a budget."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Annotated, ClassVar, Literal

from asi_core.errors import InvalidInput
from asi_core.fields import Setting
from asi_core.methods.base import MethodStyle, Saved, TrainedNumbers
from asi_core.methods.costs import dense_step
from asi_core.methods.vanilla import KeepsInput
from asi_core.records import ELEMENT_BYTES, Convention, LayerShape, Macs, Ranks
from asi_core.units import KIB


class Sparse(KeepsInput):
    """Trains the bias of every trained layer, and the weight of some, chosen under a byte budget.

    A weight's contribution is the squared norm of its exact gradient, averaged over the calibration
    batches before the first step: the first decrease of their loss per learning rate. The weights
    with the largest sum of contributions are trained whose layers' inputs together fit into the
    budget. A bias needs no input, so the other layers keep nothing. A layer without a bias gets
    one, which starts at zero: in the network of the paper it is that of the normalisation, which is
    part of the convolution there.

    As ranks, a layer whose weight is trained has the sizes of its input, and another has zeros.

    Source: Lin et al., "On-Device Training Under 256KB Memory" (NeurIPS 2022). There, contributions
    are gains of accuracy from updating each layer alone, and a part of a weight's channels can be
    chosen; whole weights are here.
    """

    kind: Literal["sparse"] = "sparse"
    label: ClassVar[str] = "Sparse update"
    summary: ClassVar[str] = (
        "Sparse updates (NeurIPS 2022): every trained layer's bias is trained, and the weights of "
        "the layers that contribute most within a budget."
    )
    saves: ClassVar[str] = (
        "It saves activations, weight gradients and optimiser state of the layers whose weights "
        "stay frozen; the inputs of the others are kept whole."
    )
    style: ClassVar[MethodStyle] = MethodStyle("#8C6A1F", "dot", "star-square")
    kept: ClassVar[str] = "the input itself, or nothing"
    kept_energy: ClassVar[float | None] = None
    why_no_picture: ClassVar[str] = (
        "A sparse update keeps the input as it is or not at all, so there is nothing to rebuild."
    )
    plans_weights: ClassVar[bool] = True
    weight_budget_bytes: Annotated[
        int,
        Setting(
            "Weight budget",
            "Memory for the kept inputs of the layers whose weights are trained; 1 byte is for "
            "biases alone.",
            least=1,
            step=65536,
            unit="bytes",
            way_out="try 131072",
        ),
    ] = 128 * KIB

    @property
    def settings_label(self) -> str:
        return f"{self.label}, {self.weight_budget_bytes / KIB:g} KiB"

    @property
    def depends_on_images(self) -> bool:
        return True

    @property
    def memory_budget(self) -> int:
        return self.weight_budget_bytes

    def trained_numbers(self, shape: LayerShape, ranks: Ranks | None) -> TrainedNumbers:
        weight, bias = prod(shape.weight_shape), shape.weight_shape[0]
        if _is_kept(ranks):
            return TrainedNumbers(weight + bias, 0)
        return TrainedNumbers(bias, weight)

    def ranks_of(self, saved: Saved) -> Ranks:
        (x,) = saved
        assert x is not None
        return tuple(x.shape)

    def ranks_for(self, shape: LayerShape) -> Ranks:
        raise InvalidInput(
            f"what a {self.label.lower()} keeps is chosen on the images",
            self.settings_label,
            "train or measure it",
        )

    def adjusted_ranks(self, shape: LayerShape, ranks: Ranks | None) -> Ranks | None:
        return shape.input_shape if _is_kept(ranks) else ranks

    def keeps_input(self, shape: LayerShape, ranks: Ranks | None) -> bool:
        return _is_kept(ranks)

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        return ELEMENT_BYTES * prod(shape.input_shape) if _is_kept(ranks) else 0

    def macs(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> Macs:
        step = dense_step(shape, convention)
        return step if _is_kept(ranks) else replace(step, weight_gradient=0)


def _is_kept(ranks: Ranks | None) -> bool:
    """Whether the weight is trained: without a plan all are."""
    return ranks is None or any(ranks)
