"""How runs differ: the fields of their specifications that are not all equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asi_core.methods import Vanilla
from asi_core.training.own_network import layers_as_settings
from asi_core.training.spec import RunSpec

# Fields that mean nothing for a network of the user's own.
_MEANINGLESS = ("pretrained", "image_size", "skip_damaged")
# Evaluating and probing do not change the training.
PROBING_SETTINGS: dict[str, Any] = {"evaluate_every": None, "probe_every": None}


def settings_of(spec: RunSpec) -> dict[str, Any]:
    """All fields of a specification in a flat dict: `method` is the method's kind, and its settings
    are on the same level as the other fields."""
    fields = spec.model_dump(mode="json", exclude={"own", "own_layers"})
    method = fields.pop("method")
    own: dict[str, Any] = {}
    if spec.own is not None:
        own = {**spec.own.as_settings(), **layers_as_settings(spec.own_layers or ())}
        fields = {name: value for name, value in fields.items() if name not in _MEANINGLESS}
    return {"method": method.pop("kind"), **method, **fields, **own}


def differing_settings(specs: Sequence[RunSpec]) -> dict[str, list[Any]]:
    """The settings in which specifications differ, each with one value per specification.

    The value is None if the method does not have the setting. A setting that only some methods
    have, with its default in all of them, is left out: the method implies it.
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
    return 0 < len(having) < len(specs) and at_default


def task_of(spec: RunSpec) -> RunSpec:
    """The specification without method, layers and seed, in which compared runs may differ, nor a
    learning rate that is the method's own.

    Runs with the same task have the same model, images and recipe, so their accuracies are
    comparable.
    """
    own = {} if spec.own is None else {"own_layers": ()}
    changes = {"method": Vanilla(), "layers": 0, "seed": 0, **own, **PROBING_SETTINGS}
    # Methods may each have a learning rate of their own.
    rate = None if spec.has_own_rate else spec.learning_rate
    return RunSpec.model_validate({**spec.model_dump(), **changes, "learning_rate": rate})


def changed_recipe(spec: RunSpec) -> dict[str, Any]:
    """The fields that are not at their defaults, without those that every label contains."""
    named = {"model", "dataset", "method", "layers", "seed", "steps", "batch_size", "image_size"}
    named |= {"pretrained", "own", "own_layers"}
    changed = spec.model_dump(mode="json", exclude_defaults=True)
    return {name: value for name, value in changed.items() if name not in named}
