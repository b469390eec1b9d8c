"""The same settings over all tasks: networks, images and recipes side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from asi_core.methods import REFERENCE_KIND
from asi_core.records import HEAD_KIND, HEAD_LABEL
from asi_core.results.outcomes import Outcome, accuracy_difference, outcomes_by_seed
from asi_core.units import DASH, less_or_more
from dashboard.compare.answer import difference_words
from dashboard.compare.controls import View
from dashboard.frame import drawer
from dashboard.tables import table

_CAPTION = (
    "One row for each setting of each task that the filter leaves, means over seeds; the same "
    "settings together. Accuracy is measured, kept inputs are by formula. Vanilla is that of the "
    "same task and layers."
)


def across_tasks(view: View) -> None:
    """An expander with the table; nothing is computed while it is closed."""
    if len(view.tasks) < 2:
        return
    with drawer("Over all tasks", icon=":material/table_rows:", key="across") as panel:
        if panel.open:
            table(across_rows(view), key="tasks", caption=_CAPTION, placeholder=DASH)


def across_rows(view: View) -> pd.DataFrame:
    """One row per task and setting, the same settings together."""
    rows: list[dict[str, Any]] = []
    for runs in view.tasks.values():
        outcomes = [o for o in outcomes_by_seed(runs) if "accuracy" in o.measures]
        rows += [_row(outcome, _vanilla_of(outcome, outcomes)) for outcome in outcomes]
    # Numbers of layers by size, and names after them.
    rows.sort(key=lambda row: (row["method"], len(row["layers"]), row["layers"], row["network"]))
    return pd.DataFrame(rows)


def _vanilla_of(outcome: Outcome, outcomes: Sequence[Outcome]) -> Outcome | None:
    """Vanilla with the layers of an outcome; None for vanilla itself and the linear probe."""
    if outcome.kind in (REFERENCE_KIND, HEAD_KIND):
        return None
    layers = outcome.spec.layers
    found = (o for o in outcomes if o.kind == REFERENCE_KIND and o.spec.layers == layers)
    return next(found, None)


def _row(outcome: Outcome, vanilla: Outcome | None) -> dict[str, Any]:
    spec, accuracy = outcome.spec, outcome.measures["accuracy"]
    kept = outcome.mean("activation_bytes")
    full = None if vanilla is None else vanilla.mean("activation_bytes")
    is_head = outcome.kind == HEAD_KIND
    return {
        "method": HEAD_LABEL if is_head else spec.method.settings_label,
        "layers": str(spec.layers),
        "network": spec.model_label,
        "images": spec.data_label,
        "steps": spec.steps,
        "seeds": len(outcome.accuracies),
        "accuracy, %": round(100 * accuracy.mean, 1),
        "inputs kept, bytes": None if kept is None else round(kept),
        "inputs kept against vanilla": less_or_more(kept, full) if kept and full else DASH,
        "accuracy against vanilla": (
            DASH if vanilla is None else difference_words(accuracy_difference(outcome, vanilla))
        ),
    }
