"""A hash of everything a run's numbers depend on: specification, code, images, weights, PyTorch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from asi_core.datasets import dataset_fingerprint
from asi_core.methods.registry import foreign_code
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import model_card
from asi_core.zoo.outside import edition, is_outside
from asi_core.zoo.weights import weights_fingerprint

# Packages that affect a run's numbers; pages, figures and stores do not.
_PACKAGES = ("compression", "costs", "datasets", "layers", "linalg", "methods", "training", "zoo")
_LIBRARIES = ("torch", "torchvision", "numpy", "pillow", "pillow-heif")
_ROOT = Path(__file__).parents[2]


def fingerprints_of(specs: Sequence[RunSpec]) -> list[str]:
    """Hashes that are equal for runs with equal numbers.

    Raises:
        InvalidInput, Unavailable: if user images cannot be read.
    """
    # Once per data set, as compared runs have the same images.
    data = {name: dataset_fingerprint(name) for name in {spec.dataset for spec in specs}}
    return [
        _hash([spec.model_dump(mode="json"), data[spec.dataset], start_of(spec), *_code_of(spec)])
        for spec in specs
    ]


def start_of(spec: RunSpec) -> str:
    """What identifies the weights that the run starts from, and code beyond this package."""
    weights = weights_fingerprint(model_card(spec.model)) if spec.pretrained else "random"
    return f"{weights} {edition(spec.model)}" if is_outside(spec.model) else weights


def _code_of(spec: RunSpec) -> list[str]:
    """A hash of the method's code, if the method is from another package."""
    return [code] if (code := foreign_code(type(spec.method))) else []


def _hash(parts: list[Any]) -> str:
    text = json.dumps([*parts, code_version()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=1)
def code_version() -> str:
    """A hash of all code that affects results, and of the versions of its libraries."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*.py")):
            digest.update(path.relative_to(_ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    for library in _LIBRARIES:
        try:
            digest.update(f"{library} {version(library)}".encode())
        except PackageNotFoundError:
            # Installed without metadata, or not at all.
            digest.update(library.encode())
    return digest.hexdigest()
