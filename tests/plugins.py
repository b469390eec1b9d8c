"""Two methods of a third-party package: one with a closed form, and one without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Annotated, Any, ClassVar, Literal

from asi_core import linalg
from asi_core.counting import ceil_div
from asi_core.fields import Setting
from asi_core.methods import Method
from asi_core.methods.costs import dense_step
from asi_core.records import ELEMENT_BYTES


class Thinned(Method):
    """Keeps the inputs of every n-th image of the batch, and drops the others."""

    kind: Literal["thinned"] = "thinned"
    label: ClassVar[str] = "Thinned batch"
    letters: ClassVar[Mapping[str, str]] = {"every": "n"}
    every: Annotated[int, Setting("Spacing", "n: one image of n is kept.", least=1, step=1)] = 2
    weighting: Annotated[
        Literal["mean", "sum"],
        Setting(
            "Weighting",
            "Whether the kept images represent the whole batch, or only themselves.",
            choices={"mean": "for the batch", "sum": "for themselves"},
        ),
    ] = "mean"

    def compress(self, x, output_shape, geometry, memory):
        return (x[:: self.every].clone(),)

    def weight_gradient(self, saved, grad_output, weight_shape, geometry):
        kept = grad_output[:: self.every]
        found = linalg.gradients.weight_gradient(saved[0], kept, weight_shape, geometry)
        return found * len(grad_output) / len(kept) if self.weighting == "mean" else found

    def is_exact(self, shape: Any) -> bool:
        return self.every == 1

    def saved_bytes(self, shape, ranks, convention):
        images, *sizes = shape.input_shape
        return ELEMENT_BYTES * ceil_div(images, self.every) * prod(sizes)

    def macs(self, shape, ranks, convention):
        step, images = dense_step(shape, convention), shape.input_shape[0]
        kept = step.weight_gradient * ceil_div(images, self.every) // images
        return replace(step, weight_gradient=kept)


class NonZero(Method):
    """Keeps the non-zero elements and their mask, so its bytes depend on the images."""

    kind: Literal["nonzero"] = "nonzero"
    label: ClassVar[str] = "Non-zero input"
    kept: ClassVar[str] = "what is not zero"
    kept_energy: ClassVar[float | None] = 1.0

    def compress(self, x, output_shape, geometry, memory):
        mask = x != 0
        return x[mask], mask

    def weight_gradient(self, saved, grad_output, weight_shape, geometry):
        values, mask = saved
        x = values.new_zeros(mask.shape).masked_scatter(mask, values)
        return linalg.gradients.weight_gradient(x, grad_output, weight_shape, geometry)

    def is_exact(self, shape: Any) -> bool:
        return True

    @property
    def depends_on_images(self) -> bool:
        return True
