"""A report of the selected runs as one HTML file that opens offline, without this app."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version

from pydantic import ValidationError

from asi_core.figures.report import ReportCode, ReportFigure, ReportTable, Section, report_page
from asi_core.results.outcomes import Outcome
from asi_core.results.verdict import Verdict
from asi_core.runs.records import RunRecord
from asi_core.training.events import PreparedEvent
from asi_core.training.reproduce import as_command, as_json, as_python
from dashboard.compare.answer import sentence
from dashboard.compare.controls import View
from dashboard.compare.details import (
    CURVES_CAPTION,
    CUTS_CAPTION,
    curve_figures,
    cut_rows,
    difference_rows,
    named_runs,
    problem_of,
    undrawn,
)
from dashboard.compare.kept import library
from dashboard.compare.picture import AXES, CAPTION, facts, left_out_of_picture, pareto_figure
from dashboard.frame import is_log_axis, with_other_axis
from dashboard.left_out import left_out_sentence

_PACKAGES = ("torch", "numpy", "plotly", "pydantic", "sqlalchemy", "streamlit")


def build_report(view: View, verdict: Verdict, selected: Sequence[Outcome]) -> bytes:
    """The task's figures, and figures, tables, settings and commands of the selected outcomes."""
    answer = sentence(verdict, view.outcomes, view.tolerance)
    names = "Selected runs: " + ", ".join(outcome.label for outcome in selected) + "."
    curves = [ReportFigure(plot, CURVES_CAPTION) for plot in curve_figures(selected)]
    differences = difference_rows(selected)
    left_out = left_out_sentence([*view.left_out, *undrawn(selected)])
    sections = [
        Section("Task", [view.task, _notes(view), *([left_out] if left_out else [])]),
        Section("Accuracy against cost", _pictures(view, verdict)),
        Section("All runs", [_facts(view.outcomes, verdict)]),
        Section("Runs in detail", [names, *curves]),
        Section("Different settings", [ReportTable(differences) if differences else "None."]),
        Section("Ranks", [ReportTable(cut_rows(selected), CUTS_CAPTION)]),
        Section("How to reproduce the runs", _commands(selected)),
        Section("Hardware and software", [_machines(selected), _versions()]),
        Section("About the numbers", [CAPTION]),
    ]
    return report_page("Which runs are worth their memory?", answer, sections)


def _notes(view: View) -> str:
    described = library().descriptions()
    comparisons = dict.fromkeys(run.comparison for run in view.runs)
    message = [
        f"{view.titles[comparison]}: {described[comparison].note}"
        for comparison in comparisons
        if comparison in described and described[comparison].note
    ]
    count = len(comparisons)
    return "; ".join(message) or f"{len(view.runs)} runs, in {count} comparison{'s' * (count > 1)}."


def _pictures(view: View, verdict: Verdict) -> list[ReportFigure]:
    log = is_log_axis()
    found = []
    for axis in AXES.values():
        draw = partial(pareto_figure, view.outcomes, verdict.reference, axis)
        plot = draw(log=log)
        if plot.data:
            caption = f"{CAPTION} {left_out_of_picture(view.outcomes, axis)}".strip()
            found.append(with_other_axis(plot, caption, partial(draw, log=not log), log=log))
    return found


def _facts(outcomes: Sequence[Outcome], verdict: Verdict) -> ReportTable:
    rows = [
        {"run": outcome.label, **facts(outcome, verdict.reference)}
        for outcome in outcomes
        if "accuracy" in outcome.measures
    ]
    return ReportTable(rows, "Means over seeds of completed runs.")


def _commands(selected: Sequence[Outcome]) -> list[str | ReportCode]:
    parts: list[str | ReportCode] = []
    for name, run in named_runs(selected).items():
        parts.append(f"{name}, run {run.id}: {run.spec.recipe_label}")
        # A network of its user's own is known to the user's program only.
        again = as_command if run.spec.own is None else as_python
        parts += [ReportCode(again(run.spec)), ReportCode(as_json(run.spec))]
    return parts


def _machines(selected: Sequence[Outcome]) -> ReportTable:
    rows = []
    for name, run in named_runs(selected).items():
        if problem_of(run) is not None:
            continue
        prepared = _prepared(run)
        if prepared is not None:
            started = datetime.fromtimestamp(run.started_at or run.created_at, UTC)
            rows.append(
                {
                    "run": name,
                    "device": prepared.device,
                    "threads": str(prepared.threads),
                    "started (UTC)": f"{started:%Y-%m-%d %H:%M}",
                }
            )
    return ReportTable(rows, "Step times depend on the machine; the other numbers hardly do.")


def _prepared(run: RunRecord) -> PreparedEvent | None:
    try:
        found = library().last_event(run.id, "prepared")
    except ValidationError:
        return None
    return found if isinstance(found, PreparedEvent) else None


def _versions() -> ReportTable:
    here = {
        "created (UTC)": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "Python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }
    rows = [{"item": item, "version": value} for item, value in here.items()]
    return ReportTable(rows, "The installation that created this report.")
