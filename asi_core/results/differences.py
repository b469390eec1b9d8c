"""What distinguishes runs: the fields of their specifications that are not all alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asi_core.methods import Vanilla
from asi_core.training.spec import RunSpec

# How often is looked changes no digit of the training.
PROBING_SETTINGS: dict[str, Any] = {"evaluate_every": None, "probe_every": None}


def settings_of(spec: RunSpec) -> dict[str, Any]:
    """All fields of a specification in one level: the method's kind as `method`, and its settings
    beside the others."""
    fields = spec.model_dump(mode="json")
    method = fields.pop("method")
    return {"method": method.pop("kind"), **method, **fields}


def differing_settings(specs: Sequence[RunSpec]) -> dict[str, list[Any]]:
    """The settings in which specifications differ, each with one value a specification.

    A setting that a method does not have is None there. One that not all methods have, and that is
    at its default in all that have it, is left out: the method tells it.
    """
    all_settings = [settings_of(spec) for spec in specs]
    names = list(dict.fromkeys(name for settings in all_settings for name in settings))
    values = {name: [settings.get(name) for settings in all_settings] for name in names}
    return {
        name: row
        for name, row in values.items()
        if any(value != row[0] for value in row) and not _shown_by_method(name, specs)
    }


def _shown_by_method(name: str, specs: Sequence[RunSpec]) -> bool:
    if name in RunSpec.model_fields:
        return False
    having = [spec.method for spec in specs if name in type(spec.method).model_fields]
    at_default = all(getattr(m, name) == type(m).model_fields[name].default for m in having)
    return len(having) < len(specs) and at_default


def task_of(spec: RunSpec) -> RunSpec:
    """The specification without what runs are compared in: method, layers and seed.

    Runs with the same task have the same model, images and recipe, so that their accuracies can be
    set against each other.
    """
    changes = {"method": Vanilla(), "layers": 0, "seed": 0, **PROBING_SETTINGS}
    return RunSpec.model_validate({**spec.model_dump(), **changes})


def changed_recipe(spec: RunSpec) -> dict[str, Any]:
    """The fields that are not at their defaults, without those that every label names anyway."""
    named = {"model", "dataset", "method", "layers", "seed", "steps", "batch_size", "image_size"}
    changed = spec.model_dump(mode="json", exclude_defaults=True)
    return {name: value for name, value in changed.items() if name not in named}
