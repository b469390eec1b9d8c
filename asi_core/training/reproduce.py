"""A run's specification as a command line, as Python and as JSON, to repeat the run anywhere."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from asi_core.fields import SettingField, setting_fields
from asi_core.training.spec import RunSpec


def as_json(spec: RunSpec) -> str:
    """Every field of the specification, indented; `train --spec` reads it."""
    return json.dumps(spec.model_dump(mode="json"), indent=2)


def as_command(spec: RunSpec) -> str:
    """One shell command; fields with default values are left out."""
    changed = spec.model_dump(mode="json", exclude_defaults=True, exclude={"method"})
    method = spec.method.model_dump(mode="json", exclude_defaults=True)
    settings = {name: value for name, value in method.items() if name != "kind"}
    words = ["python", "-m", "asi_core", "train"]
    words += _words(changed, setting_fields(RunSpec))
    words += ["--method", spec.method.kind, *_words(settings, setting_fields(type(spec.method)))]
    return shlex.join(words)


def as_python(spec: RunSpec) -> str:
    """A few lines of Python that run it and print the events."""
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


def _words(values: Mapping[str, Any], fields: Mapping[str, SettingField]) -> list[str]:
    return [word for name, value in values.items() for word in fields[name].words(value)]
