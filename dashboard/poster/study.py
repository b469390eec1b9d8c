"""The poster's experiment repeated with this app: curves, and ratios at equal accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

import pandas as pd
import streamlit as st

from asi_core.figures.study import DepthCurve, DepthPoint, plot_over_depth
from asi_core.methods import ASI, Vanilla
from asi_core.results.poster_study import (
    CURVES,
    PAPER_MACS,
    AtEqualAccuracy,
    Setting,
    at_equal_accuracy,
    series,
    study_settings,
)
from asi_core.runs.records import LeftOut
from asi_core.runs.store.run_store import RunStore
from asi_core.units import layer_count, less_or_more
from dashboard import services
from dashboard.frame import figure
from dashboard.left_out import names_of, tell_left_out
from dashboard.tables import small_table

_PRICES = (
    ("activation_bytes", "Accuracy against activation memory", "by formula", "KiB", 1024.0),
    (PAPER_MACS, "Accuracy against cost", "per step, by the poster's count", "GMACs", 1e9),
)
# Accuracies closer to the linear probe's are not worth any memory.
_WORTH = 0.01


@dataclass(frozen=True, slots=True)
class Study:
    """The settings of the curves by label, the linear probe's accuracy (0 to 1), and runs that
    cannot be drawn."""

    curves: dict[str, list[Setting]]
    head: float
    left_out: tuple[LeftOut, ...] = ()

    @property
    def vanilla(self) -> list[Setting]:
        return next(s for s in self.curves.values() if isinstance(s[0].method, Vanilla))

    def equal(self, name: str) -> dict[str, list[AtEqualAccuracy]]:
        """ASI's curves at those of vanilla's accuracies that clearly exceed the linear probe's."""
        return {
            label: [
                at
                for at in at_equal_accuracy(self.vanilla, curve, name)
                if at.accuracy > self.head + _WORTH
            ]
            for label, curve in self.curves.items()
            if isinstance(curve[0].method, ASI)
        }

    def best(self, name: str) -> tuple[float, int] | None:
        """The largest ratio of ASI at vanilla's accuracy, and vanilla's layers there."""
        found = [
            (at.ratio, at.layers)
            for each in self.equal(name).values()
            for at in each
            if at.ratio is not None
        ]
        return max(found, default=None)


def study(store: RunStore) -> Study | None:
    """The shipped study; None if the store does not have enough of it."""
    there = store.finished.editions(list(CURVES))
    return _study(store.url, tuple(there.get(name) for name in CURVES))


@lru_cache(maxsize=4)
def _study(url: str, editions: tuple[str | None, ...]) -> Study | None:
    """The study, cached by edition: it has a hundred runs."""
    if None in editions:
        return None
    store = RunStore(url)
    try:
        left_out: list[LeftOut] = []
        found = study_settings(store, CURVES, left_out)
    finally:
        store.close()
    heads = [setting for setting in found if not setting.layers]
    if not heads or not {Vanilla, ASI} <= {type(s.method) for s in found if s.layers}:
        return None
    return Study(series(found), fmean(heads[0].prices("accuracy")), tuple(left_out))


def study_view() -> None:
    """The curves, and the ratios at equal accuracy."""
    found = study(services.store())
    if found is None:
        return
    spec = found.vanilla[0].runs[0].spec
    st.subheader("MCUNet on CIFAR-10, fine-tuned here")
    tell_left_out(names_of(found.left_out))
    for column, (name, title, price, unit, scale) in zip(st.columns(2), _PRICES, strict=True):
        with column:
            figure(
                plot_over_depth(
                    [_curve(label, each, name) for label, each in found.curves.items()],
                    head=found.head,
                    title=title,
                    price=price,
                    unit=unit,
                    scale=scale,
                ),
                key=f"poster-study-{name}",
                caption=f"The last 1 to {found.vanilla[-1].layers} layers, {spec.steps} steps, "
                f"batch {spec.batch_size}, {spec.image_size} px; means of "
                f"{len(found.vanilla[0].runs)} seeds with their deviation. Accuracy is measured, "
                f"{'bytes are' if unit == 'KiB' else 'MACs are'} computed by formula.",
            )
    equal = _equal_table(found)
    small_table(
        equal,
        equal,
        key="poster-equal",
        caption="How many times less ASI needs than vanilla for the same accuracy, read from both "
        "curves. docs/results.md has every run, the spread over seeds, and further experiments; "
        "the Compare page shows all runs.",
    )


def _curve(label: str, settings: Sequence[Setting], name: str) -> DepthCurve:
    points = []
    for setting in settings:
        at, accuracy = setting.mean(name), setting.spread("accuracy")
        points.append(DepthPoint(setting.layers, at.accuracy, accuracy.deviation, at.price))
    return DepthCurve(label, settings[0].method.kind, tuple(points))


def _equal_table(found: Study) -> pd.DataFrame:
    memory, cost = (found.equal(name) for name in ("activation_bytes", PAPER_MACS))
    rows = []
    for n, at in enumerate(next(iter(memory.values()))):
        row = {
            "Vanilla trains": layer_count(at.layers),
            "and reaches": f"{100 * at.accuracy:.1f} %",
        }
        for label, each in memory.items():
            row[label] = (
                f"{_less(each[n].ratio)} memory, {_less(cost[label][n].ratio)} cost"
                if each[n].ratio
                else "not reached"
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _less(ratio: float | None) -> str:
    # Both ratios exist or neither does: that depends on the accuracies only.
    assert ratio is not None
    return less_or_more(1, ratio)
