"""A run's specification as a command line, as Python and as JSON: the same run anywhere."""

from __future__ import annotations

import json
import shlex
from typing import Any

from asi_core.training.spec import RunSpec

_METHOD_FLAGS = (
    *("kind", "ranks", "explained_variance", "patch"),
    *("sequential", "refresh_every", "bits", "solver"),
)


def as_json(spec: RunSpec) -> str:
    """Every field of the specification, indented; `train --spec` reads it."""
    return json.dumps(spec.model_dump(mode="json"), indent=2)


def as_command(spec: RunSpec) -> str:
    """One line for a shell; what has its default value is left out."""
    changed = spec.model_dump(mode="json", exclude_defaults=True)
    method = spec.method.model_dump(mode="json", exclude_defaults=True)
    method["kind"] = changed["method"] = spec.method.kind
    words = ["python", "-m", "asi_core", "train"]
    if set(method) <= set(_METHOD_FLAGS):
        words += _flags(changed, method)
    else:
        changed["method"] = method
        words += ["--spec", json.dumps(changed, separators=(",", ":"))]
    return shlex.join(words)


def as_python(spec: RunSpec) -> str:
    """A few lines that run it and print what happens."""
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


def _flags(changed: dict[str, Any], method: dict[str, Any]) -> list[str]:
    words: list[str] = []
    settings = {name: method[name] for name in _METHOD_FLAGS[1:] if name in method}
    for name, value in {**changed, **settings}.items():
        if name == "pretrained":
            words.append("--random-weights")
        elif isinstance(value, bool):
            words.append(("--" if value else "--no-") + name.replace("_", "-"))
        elif isinstance(value, list):
            words += ["--" + name.replace("_", "-"), ",".join(map(str, value))]
        elif name == "ranks":
            words += ["--rank", str(value)]
        else:
            words += ["--" + name.replace("_", "-"), str(value)]
    return words
