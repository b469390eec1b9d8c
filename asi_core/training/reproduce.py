"""A run's specification as a command line, as Python and as JSON, to repeat the run anywhere."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from asi_core.fields import SettingField, setting_fields
from asi_core.methods import Method
from asi_core.training.own_network import RECIPE, OwnNetwork
from asi_core.training.spec import RunSpec
from asi_core.units import last_layers


def step_in_words(spec: RunSpec) -> str:
    """A run's method, and how a step of it is divided and applied, in one phrase."""
    parts = f", micro-batches of {spec.micro_batch}" if spec.micro_batch else ""
    early = ", gradients applied as they come" if spec.apply_early else ""
    return f"{spec.method.settings_label}{parts}{early}"


def in_words(spec: RunSpec) -> str:
    """How a run trains, in one phrase.

    Example:
        >>> in_words(RunSpec(method=Vanilla(), layers=2, micro_batch=8))
        'Vanilla, micro-batches of 8, on the last 2 layers, batches of 64, 96 px'
    """
    sizes = f"batches of {spec.batch_size}, {spec.image_size} px"
    return f"{step_in_words(spec)}, on {last_layers(spec.layers)}, {sizes}"


def as_json(spec: RunSpec) -> str:
    """Every field of the specification, indented; `train --spec` reads it."""
    return json.dumps(spec.model_dump(mode="json"), indent=2)


def as_command(spec: RunSpec) -> str:
    """One shell command; fields with default values are left out.

    Raises:
        Unsupported: for a run of the user's own network.
    """
    spec.check_can_be_repeated()
    changed = spec.model_dump(mode="json", exclude_defaults=True, exclude={"method"})
    method = spec.method.model_dump(mode="json", exclude_defaults=True)
    settings = {name: value for name, value in method.items() if name != "kind"}
    words = ["python", "-m", "asi_core", "train"]
    words += _words(changed, setting_fields(RunSpec))
    words += ["--method", spec.method.kind, *_words(settings, setting_fields(type(spec.method)))]
    return shlex.join(words)


def as_python(spec: RunSpec) -> str:
    """A few lines of Python that run it and print the events."""
    if spec.own is not None:
        return _of_own(spec, spec.own)
    changed = spec.model_dump(mode="json", exclude_defaults=True)
    changed["method"] = {**changed["method"], "kind": spec.method.kind}
    lines = [f"    {name}={value!r}," for name, value in changed.items()]
    return "\n".join(
        (
            "from asi_core.training.loop import fine_tune",
            "from asi_core.training.spec import RunSpec",
            "",
            "spec = RunSpec(",
            *lines,
            ")",
            "for event in fine_tune(spec):",
            "    print(event)",
            "",
        )
    )


def _of_own(spec: RunSpec, own: OwnNetwork) -> str:
    """The call that trains a network of the user's own again, in the user's program."""
    layers = spec.own_layers or ()
    compression: dict[str, Any] = {
        "layers": [layer.name for layer in layers],
        "per_layer": {
            layer.name: _method_of(layer.method) for layer in layers if layer.method is not None
        },
        "also_trained": list(own.also_trained),
        "train_norm": spec.train_norm,
        "freeze_statistics": own.freeze_statistics,
        "lean": spec.lean,
        "fold": own.fold,
    }
    recipe = spec.model_dump(mode="json", exclude_defaults=True, include=set(RECIPE))
    loss = "" if own.loss == "cross_entropy" else f"    loss={own.loss},\n"
    return "\n".join(
        (
            "from asi_core import Compression, fine_tune",
            "",
            f"# Your own network and batches of {spec.batch_size}, as they were for the run.",
            "config = Compression(",
            f"    {_method_of(spec.method)!r},",
            *(f"    {name}={value!r}," for name, value in compression.items()),
            ")",
            "for event in fine_tune(",
            "    model,",
            "    batches,",
            "    config,",
            "    test=test_batches,",
            loss + "".join(f"    {name}={value!r},\n" for name, value in recipe.items()) + "):",
            "    print(event)",
            "",
        )
    )


def _method_of(method: Method) -> dict[str, Any]:
    return {"kind": method.kind, **method.model_dump(mode="json", exclude_defaults=True)}


def _words(values: Mapping[str, Any], fields: Mapping[str, SettingField]) -> list[str]:
    return [word for name, value in values.items() for word in fields[name].words(value)]
