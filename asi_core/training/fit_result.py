"""A way to train, and the answer to "what fits?"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asi_core.costs.devices import Device
from asi_core.costs.needs import Need
from asi_core.costs.timeline.records import Use
from asi_core.counting import ceil_div
from asi_core.records import Ranks
from asi_core.training.reproduce import as_command
from asi_core.training.spec import RunSpec
from asi_core.units import format_bytes


@dataclass(frozen=True, slots=True)
class Setting:
    """A way to train.

    Attributes:
        spec: of a run that trains so; with a plan, its method has the budget of the plan.
        need: what it needs at once, by formula.
        gradient_error: of all layers that may be trained, as a share of their gradients' norm, 0 to
            1 and more; None if it was not measured, as nothing fits.
        ranks: planned, by layer.
    """

    spec: RunSpec
    need: Need
    gradient_error: float | None
    ranks: Mapping[str, Ranks] | None = None

    @property
    def passes(self) -> int:
        """Micro-batches in one step."""
        return ceil_div(self.spec.batch_size, self.spec.pass_size)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what of the specification fitting has chosen, and the ranks."""
        names = ("model", "dataset", "layers", "batch_size", "micro_batch", "image_size")
        others = ("apply_early", "optimizer", "momentum", "layout", "lean")
        written = self.spec.model_dump(mode="json", include={"method", *names, *others})
        return {**written, "ranks": None if self.ranks is None else dict(self.ranks)}


@dataclass(frozen=True, slots=True)
class Fitting:
    """The answer to "what fits?".

    Attributes:
        fits: whether anything does; if nothing does, `setting` is one that needs least.
        step_seconds: of one step of the setting, frozen forward passes included.
        is_measured: whether that was measured here, or follows from a stated speed.
        larger: the next larger device, and the best setting there.
    """

    budget_bytes: int
    frozen_in_flash: bool
    fits: bool
    setting: Setting
    step_seconds: float | None = None
    is_measured: bool = False
    larger: tuple[Device, Setting] | None = None

    @property
    def total_bytes(self) -> int:
        """What the setting needs at once."""
        return self.setting.need.total(frozen_in_flash=self.frozen_in_flash)

    @property
    def advice(self) -> str:
        """What else could be changed, in a sentence; empty if nothing stands out."""
        gradients = self.setting.need.breakdown.get(str(Use.GRADIENTS), 0)
        if self.setting.passes == 1 or 3 * gradients < self.total_bytes:
            return ""
        return (
            f"Micro-batches add up {format_bytes(gradients)} of gradients, which wait for the last "
            "of them. A smaller batch in one pass, with gradients applied as they come, holds one "
            "gradient at a time: search with a smaller batch size as well."
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        breakdown = dict(self.setting.need.breakdown)
        if not self.frozen_in_flash:
            breakdown[str(Use.FROZEN_WEIGHTS)] = self.setting.need.frozen_weights
        larger = None
        if self.larger is not None:
            device, setting = self.larger
            larger = {
                "device": device.name,
                "budget_bytes": device.budget_bytes,
                "setting": setting.as_dict(),
                "gradient_error": setting.gradient_error,
            }
        return {
            "budget_bytes": self.budget_bytes,
            "fits": self.fits,
            "setting": self.setting.as_dict(),
            "command": as_command(self.setting.spec),
            "total_bytes": self.total_bytes,
            "breakdown": breakdown,
            "frozen_weights_bytes": self.setting.need.frozen_weights,
            "frozen_in_flash": self.frozen_in_flash,
            "gradient_error": self.setting.gradient_error,
            "step_seconds": self.step_seconds,
            "step_seconds_source": None
            if self.step_seconds is None
            else ("measured" if self.is_measured else "stated speed"),
            "next_device": larger,
            "advice": self.advice,
        }
