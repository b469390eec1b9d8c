"""The reference runs with which each run of a comparison is compared."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from asi_core.methods import REFERENCE_KIND
from asi_core.records import HEAD_KIND
from asi_core.results.differences import PROBING_SETTINGS
from asi_core.runs.records import RunRecord
from dashboard.feed import run_style

# Settings without effect if no layer is trained.
_OF_LAYERS = (
    *("layers", "lean", "activation_bits", "recompute_attention", "train_norm", "own_layers"),
)


def vanilla_of(runs: Sequence[RunRecord], run: RunRecord) -> int | None:
    """The index of the first vanilla run that differs from a run only in the method; None for
    vanilla runs and the linear probe."""
    if run_style(run) in (REFERENCE_KIND, HEAD_KIND):
        return None
    return _first(runs, REFERENCE_KIND, run, but=())


def head_of(runs: Sequence[RunRecord], run: RunRecord) -> int | None:
    """The index of the linear probe with the same model, images and recipe as a run."""
    return None if run_style(run) == HEAD_KIND else _first(runs, HEAD_KIND, run, but=_OF_LAYERS)


def _first(
    runs: Sequence[RunRecord], style: str, like: RunRecord, but: Collection[str]
) -> int | None:
    left_out = {"method", *PROBING_SETTINGS, *but}
    wanted = _recipe(like, left_out)
    found = (
        place
        for place, run in enumerate(runs)
        if run_style(run) == style and _recipe(run, left_out) == wanted
    )
    return next(found, None)


def _recipe(run: RunRecord, left_out: Collection[str]) -> dict[str, Any]:
    """The specification without some fields; methods may each have their own learning rate."""
    fields = run.spec.model_dump(exclude=set(left_out))
    return {**fields, "learning_rate": None} if run.spec.has_own_rate else fields
