"""Translation of URL parameters of earlier versions into those of today's boxes."""

from __future__ import annotations

from collections.abc import MutableMapping

from asi_core.methods import USUAL_RANKS
from asi_core.zoo.cards import MODELS
from dashboard.controls import EACH, ONE

_RENAMED = {
    "sweep_variances": "sweep_explained_variance",
    "sweep_patches": "sweep_patch",
    "sweep_seeds": "sweep_seed",
    "sweep_model": "model",
    "sweep_dataset": "dataset",
    "sweep_skip_damaged": "skip_damaged",
    "sweep_batch_size": "batch_size",
    "sweep_image_size": "image_size",
}
# Ranks were once written into one text box, one for each number of modes.
_SOURCE, _GIVEN = "ranks_from", "Given ranks"
_RANKS = ("ranks", "ranks_of_3")


def translate(address: MutableMapping[str, str]) -> bool:
    """Bring an address up to date, in place; return whether it was changed."""
    before = dict(address)
    for old, new in _RENAMED.items():
        if old in address:
            address.setdefault(new, address.pop(old))
    if address.get(_SOURCE) == _GIVEN:
        written = next((address[key] for key in _RANKS if key in address), None)
        for key in _RANKS:
            address.pop(key, None)
        _give_ranks(address, [part.strip() for part in (written or "").split(",") if part.strip()])
    return dict(address) != before


def _give_ranks(address: MutableMapping[str, str], ranks: list[str]) -> None:
    if len(ranks) == 1:
        address[_SOURCE], address["rank"] = ONE, ranks[0]
        return
    names = _mode_names(address.get("model", ""))
    address[_SOURCE] = EACH
    # An empty box meant the usual ranks.
    for name, rank in zip(names, ranks or map(str, USUAL_RANKS), strict=False):
        address[f"rank_{name}"] = rank


def _mode_names(model: str) -> tuple[str, ...]:
    """Mode names of a model, given by its name or title; those of the first model by default."""
    cards = [card for name, card in MODELS.items() if model in (name, card.title)]
    return (cards or list(MODELS.values()))[0].mode_names
