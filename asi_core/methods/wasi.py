"""WASI (ICLR 2026): inputs kept by ASI, and the weight replaced by a product of low rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from asi_core import linalg
from asi_core.fields import Setting
from asi_core.methods import costs
from asi_core.methods.asi import SubspaceIteration
from asi_core.methods.base import MethodStyle, WarmStart
from asi_core.records import (
    ELEMENT_BYTES,
    Convention,
    ConvGeometry,
    Geometry,
    LayerShape,
    Macs,
    Ranks,
)

if TYPE_CHECKING:
    from torch import Tensor

_ONLY = "WASI factors the matrix of a linear layer or of a pointwise convolution"


class WASI(SubspaceIteration):
    """ASI, and outputs and input gradients through L R in place of the weight W.

    L (out x K) is an orthonormal basis, and R = L^T W (K x in): L R is W projected onto a subspace.
    L starts as W's leading left singular vectors, and is turned by one subspace iteration before
    each training step. So the output is that of a truncated weight. The weight gradient, from what
    ASI keeps, and the update are of the whole W.

    W, its gradient and its optimiser state are therefore whole, as in the authors' code, and L and
    R (4 K (in + out) bytes) are kept beside them from forward to backward. If L and R were trained
    themselves, these 4 K (in + out) bytes would take W's place.

    In the authors' code R is computed from the L of the step before. Here it is from the L it is
    multiplied with, so that signs of columns cannot differ.

    Source: Nguyen et al., "Efficient Resource-Constrained Training of Transformers via Subspace
    Optimization" (arXiv 2510.09160).

    Attributes:
        weight_rank: K; at most the smaller side of the weight.
        weight_variance: the share of the weight's energy that K reaches on the first step, in place
            of a given one. Costs then have no closed form: they depend on the weights.
    """

    kind: Literal["wasi"] = "wasi"
    label: ClassVar[str] = "WASI"
    summary: ClassVar[str] = (
        "Weight-Activation Subspace Iteration (ICLR 2026): inputs are kept by ASI, and outputs and "
        "input gradients are computed through a weight of low rank."
    )
    saves: ClassVar[str] = (
        "It saves activations and multiply-accumulates; the whole weight, its gradient and its "
        "optimiser state stay, and the weight's two factors are kept beside them."
    )
    style: ClassVar[MethodStyle] = MethodStyle("#00708C", "longdash", "bowtie")
    exact_forward: ClassVar[bool] = False
    factors_weight: ClassVar[bool] = True
    letters: ClassVar[Mapping[str, str]] = {"weight_rank": "K"}
    weight_rank: Annotated[
        int,
        Setting(
            "Weight rank",
            "K: the rank of the product that WASI computes with in place of a layer's weight.",
            least=1,
            # Larger than any layer's channels.
            most=65536,
            step=1,
            way_out="64 is a start",
        ),
    ] = 64
    weight_variance: Annotated[
        float | None,
        Setting(
            "Weight variance",
            "Share of the energy of each weight that determines the weight rank of its layer.",
            above=0,
            most=1,
            step=0.01,
            way_out="try 0.8",
        ),
    ] = None

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        settings = (
            {"ranks": 2, "weight_rank": 3},
            {"ranks": 1000, "weight_rank": 1000},
            {"explained_variance": 1.0, "weight_variance": 0.6},
        )
        return tuple(cls.model_validate(given) for given in settings)

    @classmethod
    def why_unsupported(cls, geometry: Geometry) -> str | None:
        if isinstance(geometry, ConvGeometry) and not geometry.is_pointwise((1, 1, 1, 1)):
            return _ONLY
        return None

    @classmethod
    def why_unsupported_layer(cls, geometry: Geometry, weight_shape: tuple[int, ...]) -> str | None:
        return None if geometry.is_pointwise(weight_shape) else _ONLY

    @property
    def settings_label(self) -> str:
        share = self.weight_variance
        of_weight = f"weight rank {self.weight_rank}"
        if share is not None:
            of_weight = f"{100 * share:g} % of the weight's variance"
        return f"{super().settings_label}, {of_weight}"

    @property
    def has_closed_form(self) -> bool:
        return self.weight_variance is None

    def is_exact(self, shape: LayerShape) -> bool:
        is_whole = self._rank_in(shape.weight_shape) == min(shape.weight_shape[:2])
        return self.weight_variance is None and is_whole and super().is_exact(shape)

    def weight_factors(
        self, weight: Tensor, memory: WarmStart, *, iterate: bool
    ) -> tuple[Tensor, Tensor]:
        matrix = weight.flatten(1)
        left = memory.weight_factor
        if left is None or len(left) != len(matrix):
            left = self._leading(matrix)
        elif iterate:
            left = linalg.unfolding.orthonormal(matrix @ (matrix.T @ left.to(matrix)))
        left = left.to(matrix)
        if iterate:
            memory.weight_factor = left
        return left, left.T @ matrix

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        kept = super().saved_bytes(shape, ranks, convention)
        if not shape.has_input_gradient:
            # Only input gradients need the factors.
            return kept
        outputs, inputs = shape.weight_shape[:2]
        return kept + ELEMENT_BYTES * self._rank_in(shape.weight_shape) * (outputs + inputs)

    def macs(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> Macs:
        """A subspace iteration of the weight, and two thin products in place of a whole one."""
        step = super().macs(shape, ranks, convention)
        outputs, inputs = shape.weight_shape[:2]
        rank, sizes = self._rank_in(shape.weight_shape), shape.input_shape
        tokens = sizes[0]
        for mode in shape.position_modes:
            tokens = tokens * sizes[mode]
        thin = tokens * rank * (outputs + inputs)
        iteration = 3 * outputs * inputs * rank + costs.qr_macs(outputs, rank)
        return replace(
            step,
            forward=thin,
            overhead=step.overhead + iteration,
            input_gradient=thin if convention == "exact" and shape.has_input_gradient else 0,
        )

    def _rank_in(self, weight_shape: tuple[int, ...]) -> int:
        return min(self.weight_rank, weight_shape[0], weight_shape[1])

    def _leading(self, matrix: Tensor) -> Tensor:
        if self.weight_variance is not None:
            return linalg.spectra.leading_vectors(
                matrix, 0, explained_variance=self.weight_variance
            )
        return linalg.spectra.leading_vectors(matrix, 0, rank=self._rank_in(tuple(matrix.shape)))
