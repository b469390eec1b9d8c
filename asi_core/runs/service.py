"""Asking for runs: what is checked before anything is queued."""

from __future__ import annotations

from collections.abc import Sequence

from asi_core.datasets import check_dataset
from asi_core.errors import InvalidInput
from asi_core.methods import METHODS
from asi_core.runs.records import RunRecord
from asi_core.runs.store import RunStore
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import model_card
from asi_core.zoo.weights import check_obtainable

# Every method, and the classifier alone.
MOST_RUNS_AT_ONCE = len(METHODS) + 1


def request_runs(
    store: RunStore, specs: Sequence[RunSpec], owner: str, *, most: int = MOST_RUNS_AT_ONCE
) -> list[RunRecord]:
    """Queue runs that are to be compared, if all of them can start.

    Asked for the same again while it is going, it returns what is going.

    Args:
        most: runs that may be asked for at once.

    Raises:
        InvalidInput: if there are none or too many, or images are not as they must be or fewer
            than a batch.
        Unavailable: if weights or images are missing or damaged; nothing is queued then.
    """
    if not 1 <= len(specs) <= most:
        raise InvalidInput(
            f"a comparison must have 1 to {most} runs",
            len(specs),
            "choose other methods",
        )
    for model in {spec.model for spec in specs if spec.pretrained}:
        check_obtainable(model_card(model))
    cards = {dataset: check_dataset(dataset) for dataset in {spec.dataset for spec in specs}}
    for spec in specs:
        cards[spec.dataset].check_batch_size(spec.batch_size)
    return _already_going(store, specs, owner) or store.create(specs, owner)


def _already_going(store: RunStore, specs: Sequence[RunSpec], owner: str) -> list[RunRecord] | None:
    """The owner's own comparison of just these runs, if none of it has ended: a second click."""
    for name in {run.comparison for run in store.active() if run.owner == owner}:
        runs = store.comparison(name)
        if [run.spec for run in runs] == list(specs) and all(run.is_active for run in runs):
            return runs
    return None
