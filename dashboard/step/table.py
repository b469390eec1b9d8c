"""The numbers of all steps, from both sources, as a table with a download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from asi_core.costs.timeline.records import Peak
from asi_core.figures.step import USES
from asi_core.units import format_bytes
from dashboard.step.steps import KnownStep
from dashboard.tables import small_table

_MOST_NAMED = 3


def numbers_table(known: Sequence[KnownStep]) -> None:
    """One row for each step and source."""
    small_table(
        pd.DataFrame([_shown(one) for one in known]),
        number_rows(known),
        key="step-numbers",
        caption="What the step adds to what was there before. A negative part is memory that was "
        "there before and has been released, such as a warm start that is replaced.",
    )


def number_rows(known: Sequence[KnownStep]) -> pd.DataFrame:
    """The same in bytes, and the whole of the peak by use."""
    rows = [_numbers(one) for one in known]
    uses = [use for use in USES if any(use in one.timeline.peak.by_use for one in known)]
    return pd.DataFrame(
        row | {f"peak_{_name(use)}_bytes": one.timeline.peak.by_use.get(use, 0) for use in uses}
        for row, one in zip(rows, known, strict=True)
    )


def _shown(one: KnownStep) -> dict[str, str]:
    peak = one.timeline.peak
    return {
        "method": one.label,
        "numbers": one.timeline.source,
        "kept": format_bytes(one.timeline.kept_bytes),
        "peak": format_bytes(peak.nbytes),
        "when": peak.moment.phase,
        "where": peak.moment.place,
        "of which": _breakdown(peak),
        "there before": format_bytes(sum(one.timeline.base.values())),
    }


def _breakdown(peak: Peak) -> str:
    """The largest parts of a peak, and the sum of the rest."""
    parts = list(peak.by_use.items())
    named, rest = parts[:_MOST_NAMED], sum(nbytes for _, nbytes in parts[_MOST_NAMED:])
    words = [f"{use} {format_bytes(nbytes)}" for use, nbytes in named]
    words += [f"others {format_bytes(rest)}"] if rest else []
    # Each part stays on one line, however narrow the window is.
    return ", ".join(word.replace(" ", "\u00a0") for word in words)


def _numbers(one: KnownStep) -> dict[str, Any]:
    timeline = one.timeline
    moment = timeline.peak.moment
    return {
        "method": one.label,
        "source": timeline.source,
        "device": timeline.device,
        "kept_bytes": timeline.kept_bytes,
        "peak_bytes": timeline.peak.nbytes,
        "peak_phase": moment.phase,
        "peak_place": moment.place,
        "peak_operator": moment.operator,
        "before_bytes": sum(timeline.base.values()),
    }


def _name(use: str) -> str:
    return use.replace(" ", "_")
