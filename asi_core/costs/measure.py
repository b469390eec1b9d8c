"""Formula and measurement of a model's trained part, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from asi_core.costs.accounting import StepCost, known_step_cost
from asi_core.costs.measurement import StepMeasurement, measure_step
from asi_core.methods import Method
from asi_core.records import LayerShape


@dataclass(frozen=True, slots=True)
class Measurement:
    """One step's costs by formula and what it really keeps, layer by layer.

    Attributes:
        cost: by formula, in the `exact` convention, with the ranks in use in the measured step;
            None for a method without closed form.
        step: as measured. Its layers are those of `cost`, in the same order; a layer that is
            called n times has n costs, and is measured once.
    """

    cost: StepCost | None
    step: StepMeasurement

    @property
    def formula_bytes(self) -> int | None:
        return None if self.cost is None else self.cost.activation_bytes

    def layer_formula_bytes(self, name: str) -> int | None:
        """By formula, summed over all calls of one layer."""
        if self.cost is None:
            return None
        return sum(c.activation_bytes for c in self.cost.layers if c.shape.name == name)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: bytes and seconds, None if there is no formula. The meters agree, otherwise
        measuring fails."""
        return {
            "formula_bytes": self.formula_bytes,
            "saved_bytes": {
                "total": self.step.saved_bytes,
                "by_category": dict(self.step.category_bytes),
            },
            "meters_agree": True,
            "layers": [
                {
                    "name": measured.name,
                    "ranks": None if measured.ranks is None else list(measured.ranks),
                    "formula_bytes": self.layer_formula_bytes(measured.name),
                    "measured_bytes": measured.saved_bytes,
                    "forward_seconds": measured.forward_seconds,
                    "backward_seconds": measured.backward_seconds,
                }
                for measured in self.step.layers
            ],
            "peak_bytes": self.step.peak_bytes,
        }


def measure_tail(
    tail: nn.Module,
    make_inputs: Callable[[], tuple[Tensor, ...]],
    loss_of: Callable[[Tensor], Tensor],
    *,
    head: str | None,
    method: Method,
    shapes: Sequence[LayerShape],
) -> Measurement:
    """Measure one step of a model's trained part, and count the same step by formula if the method
    has one.

    Args:
        make_inputs, loss_of, head: as in `measure_step`.
        shapes: of the trained layers at this batch size, one per call; `tail` has layers of these
            names.

    Raises:
        MetersDisagree, InvalidInput, Unsupported: as in `measure_step`.
    """
    names = list(dict.fromkeys(shape.name for shape in shapes))
    step = measure_step(tail, make_inputs, loss_of, names, head)
    ranks = {layer.name: layer.ranks for layer in step.layers}
    return Measurement(known_step_cost(shapes, method, "exact", ranks), step)
