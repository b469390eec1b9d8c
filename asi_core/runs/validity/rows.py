"""Checks of a run's numbers, times and summary.

Runs of this installation are valid by construction. Runs that were imported, or changed in the
database by hand, may have any values: they are checked at import, and again before they are drawn.
`validity.probes` does the same for layers, spectra and pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asi_core.runs.records import STATUSES, RunRecord
from asi_core.runs.validity.specs import MOST_COUNT, InvalidRun
from asi_core.training.spec import RunSpec

# Thirty years; sums of a run's seconds stay far from infinity.
MOST_SECONDS = 1e9
# Above the largest number in single precision, in which runs compute.
LARGEST_SINGLE = 3.5e38
# Unix seconds from 1970 to 2100, which every calendar supports.
LATEST_TIME = 4_102_444_800


class Range(NamedTuple):
    """The allowed range of a number.

    Attributes:
        whole: whether it must be an integer.
        trained: whether it must be above 0 if a layer is trained.
    """

    low: float
    high: float
    whole: bool = False
    trained: bool = False


_SHARE, _LOSS = Range(0, 1), Range(0, LARGEST_SINGLE)
SECONDS = Range(0, MOST_SECONDS)
_COUNT, _POSITIVE = Range(0, MOST_COUNT, True), Range(0, MOST_COUNT, True, True)

# The columns of steps and evaluations.
COLUMNS: dict[str, dict[str, Range]] = {
    "step": {
        "step": Range(1, MOST_COUNT, True),
        "loss": _LOSS,
        "accuracy": _SHARE,
        "learning_rate": Range(0, LARGEST_SINGLE),
        "prefix_seconds": SECONDS,
        "forward_seconds": SECONDS,
        "backward_seconds": SECONDS,
        "update_seconds": SECONDS,
        "saved_bytes": _POSITIVE,
    },
    "evaluation": {"step": Range(1, MOST_COUNT, True), "accuracy": _SHARE, "loss": _LOSS},
}
# Columns that not all runs have, such as counts of methods with a closed form.
OPTIONAL_COLUMNS: dict[str, dict[str, Range]] = {
    "step": {
        "activation_bytes": _POSITIVE,
        "forward_macs": _POSITIVE,
        "overhead_macs": _COUNT,
        "backward_macs": _POSITIVE,
    },
    "evaluation": {"balanced_accuracy": _SHARE},
}
# The numbers of a summary: those that a completed run must have, and those that it may lack.
_SUMMARY: dict[tuple[str, ...], Range] = {
    ("steps_done",): Range(1, MOST_COUNT, True),
    ("test_accuracy",): _SHARE,
    ("final_loss",): _LOSS,
    ("measured_saved_bytes",): _POSITIVE,
    ("seconds", "step_median"): SECONDS,
    ("seconds", "forward_median"): SECONDS,
    ("seconds", "backward_median"): SECONDS,
    ("seconds", "prefix_total"): SECONDS,
}
_MAY_LACK: dict[tuple[str, ...], Range] = {
    ("best_accuracy",): _SHARE,
    ("balanced_accuracy",): _SHARE,
    ("activation_bytes",): _POSITIVE,
    ("peak_bytes",): _POSITIVE,
    ("macs", "total"): _POSITIVE,
    ("macs", "forward"): _COUNT,
    ("macs", "overhead"): _COUNT,
    ("macs", "backward"): _COUNT,
    ("seconds", "probe_share"): Range(0, MOST_SECONDS),
    ("seconds", "probe_median"): SECONDS,
    ("seconds", "total"): SECONDS,
}


def check_times(created_at: float, started_at: float | None, finished_at: float | None) -> None:
    """Check that times are between 1970 and 2100.

    Raises:
        InvalidRun: naming the time.
    """
    times = {"created_at": created_at, "started_at": started_at, "finished_at": finished_at}
    for name, value in times.items():
        if value is not None:
            check_number(name, value, Range(0, LATEST_TIME))


def check_columns(spec: RunSpec, kind: str, columns: Mapping[str, NDArray[Any]]) -> None:
    """Check columns of steps or evaluations, with one entry per event.

    Args:
        columns: numbers, one column for each of `COLUMNS[kind]` and some of
            `OPTIONAL_COLUMNS[kind]`.

    Raises:
        InvalidRun: naming the column and what is wrong with it.
    """
    if len({len(values) for values in columns.values()}) != 1:
        raise InvalidRun(f"columns of {kind} events differ in length")
    steps = columns["step"]
    for name, allowed in {**COLUMNS[kind], **OPTIONAL_COLUMNS[kind]}.items():
        if name in columns or name in COLUMNS[kind]:
            _check_column(f"{name} of {kind} events", columns[name], allowed, spec)
    if len(steps) and steps.max() > spec.steps:
        raise InvalidRun(f"{kind} events go beyond the {spec.steps} steps of the specification")
    if (np.diff(steps.astype(float)) <= 0).any():
        raise InvalidRun(f"steps of {kind} events do not increase")


def check_rows(spec: RunSpec, kind: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """As `check_columns`, for events as rows; each may lack optional values."""
    if not rows:
        return
    check_columns(spec, kind, {n: _column(rows, n) for n in COLUMNS[kind]})
    for name, allowed in OPTIONAL_COLUMNS[kind].items():
        _check_column(f"{name} of {kind} events", _column(rows, name), allowed, spec)


def check_record(run: RunRecord) -> None:
    """Check the status and times of a run, and its summary if it has one.

    Raises:
        InvalidRun: naming the field.
    """
    if run.status not in STATUSES:
        raise InvalidRun(f"its status is {run.status!r:.40}")
    check_times(run.created_at, run.started_at, run.finished_at)
    if run.summary is not None:
        _check_summary(run)


def check_outcome(run: RunRecord) -> None:
    """As `check_record`; also that a completed run has all measures for a comparison.

    Raises:
        InvalidRun: naming the field.
    """
    check_record(run)
    if run.status == "completed":
        for place in _SUMMARY:
            if _summed_up(run, place) is None:
                raise InvalidRun(f"its summary lacks {_name_of(place)}")


def problem_of(run: RunRecord) -> str | None:
    """The error of `check_outcome`; None if the run is valid."""
    try:
        check_outcome(run)
    except InvalidRun as error:
        return str(error)
    return None


def check_number(name: str, value: Any, allowed: Range, *, is_trained: bool = False) -> None:
    """Check one number.

    Raises:
        InvalidRun: if it is not a number, not finite, or not within `allowed`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidRun(f"{name} is not a number")
    # The comparison comes first, as `isfinite` fails for integers too large for a float.
    if not allowed.low <= value <= allowed.high or not math.isfinite(value):
        raise InvalidRun(f"{name} is {value!s:.30}, not within {allowed.low:g} to {allowed.high:g}")
    if allowed.whole and value != int(value):
        raise InvalidRun(f"{name} is {value:g}, not a whole number")
    if allowed.trained and is_trained and value <= 0:
        raise InvalidRun(f"{name} is 0 although layers are trained")


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> NDArray[Any]:
    """The values of a column that are not None."""
    return np.array([float(row[name]) for row in rows if row.get(name) is not None])


def _check_column(name: str, values: NDArray[Any], allowed: Range, spec: RunSpec) -> None:
    for extreme in (values.min(), values.max()) if len(values) else ():
        # If the array has a NaN, both are NaN.
        check_number(name, extreme.item(), allowed, is_trained=_trains_weights(spec))
    if allowed.whole and (values != np.floor(values)).any():
        raise InvalidRun(f"{name} are not all whole numbers")


def _trains_weights(spec: RunSpec) -> bool:
    """Whether weights of layers are trained for sure: a plan may have found room for biases alone,
    which need no inputs."""
    return spec.layers != 0 and not spec.method.plans_weights


def _check_summary(run: RunRecord) -> None:
    if not isinstance(run.summary, Mapping):
        raise InvalidRun("its summary is not a mapping")
    for place, allowed in {**_SUMMARY, **_MAY_LACK}.items():
        if (value := _summed_up(run, place)) is None:
            continue
        # A run that was stopped before its first step has 0 steps.
        low = allowed.low if run.status == "completed" else 0
        is_trained = _trains_weights(run.spec)
        name = f"{_name_of(place)} of its summary"
        check_number(name, value, allowed._replace(low=low), is_trained=is_trained)


def _summed_up(run: RunRecord, place: tuple[str, ...]) -> Any:
    value: Any = run.summary
    for key in place:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _name_of(place: tuple[str, ...]) -> str:
    return " ".join(place).replace("_", " ")
