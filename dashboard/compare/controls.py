"""The controls of the page: task, filters, and how runs are compared. All are in the URL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import streamlit as st

from asi_core.datasets import dataset_card
from asi_core.errors import AsiError
from asi_core.methods import METHODS
from asi_core.records import HEAD_KIND, HEAD_LABEL
from asi_core.results.differences import changed_recipe, task_of
from asi_core.results.outcomes import Outcome, outcomes_by_seed, single_outcomes, without_seed
from asi_core.runs.records import EXAMPLE_OWNER, STATUSES, LeftOut, RunRecord
from asi_core.runs.store.library import MOST_READ, Description, Found, RunFilter
from asi_core.runs.validity.rows import problem_of
from asi_core.training.own_network import is_own, own_title
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import model_card
from dashboard.compare.kept import library
from dashboard.frame import URL
from dashboard.history import my_names, recorded_time
from dashboard.left_out import names_of, tell_left_out
from dashboard.plain import plain
from dashboard.setup import above_setup
from dashboard.visitor import short_owner

# Field of `RunFilter` -> label and help of its filter; the key in the URL is "only_<field>".
_FILTERS = {
    "kind": ("Methods", "Only runs of these methods; empty means all."),
    "status": ("States", "Only runs in these states. Means are always over completed runs."),
    "model": ("Models", "Only runs of these models."),
    "dataset": ("Images", "Only runs on these images."),
    "owner": ("Owners", "Only runs of these visitors, or the shipped examples."),
}


@dataclass(frozen=True, slots=True)
class View:
    """The chosen runs of one task.

    Attributes:
        task: its label.
        runs: the task's filtered runs, newest first.
        outcomes: the same runs, one outcome for all seeds or one per run.
        tolerance: the accuracy that may be lost, 0 to 1.
        titles: comparison id -> title.
        left_out: the runs that cannot be drawn, with reasons.
        tasks: the filtered runs of all tasks, by label.
    """

    task: str
    runs: list[RunRecord]
    outcomes: list[Outcome]
    tolerance: float
    titles: dict[str, str]
    left_out: tuple[str, ...] = ()
    tasks: Mapping[str, list[RunRecord]] = field(default_factory=dict)

    def outcome(self, label: str) -> Outcome:
        return next(outcome for outcome in self.outcomes if outcome.label == label)


def chosen_view() -> View | None:
    """Draw the controls; None if no run matches."""
    everything = library().found()
    described = library().descriptions()
    place = above_setup()
    with place:
        task_place, seeds_place = st.container(), st.container()
        with st.expander("Filter", icon=":material/filter_list:"):
            wanted = _filter(comparison_titles(everything.runs, described))
            found = _comparable(library().found(wanted))
    _tell_what_is_missing(wanted, found)
    place.markdown("##### For a new sweep")
    tasks = _tasks(_without_copies(found.runs))
    if not tasks:
        return None
    with task_place:
        task = _task_box(list(tasks))
    with seeds_place:
        tolerance, by_seed = _how()
    runs = tasks[task]
    # Filtered runs may be older than the newest runs in `everything`.
    titles = comparison_titles([*everything.runs, *found.runs], described)
    outcomes = outcomes_by_seed(runs) if by_seed else single_outcomes(runs)
    left_out = tuple(names_of(found.left_out))
    return View(task, runs, outcomes, tolerance, titles, left_out, tasks)


def _comparable(found: Found) -> Found:
    """The runs without completed ones whose measures are missing or invalid."""
    problems = {run.id: problem_of(run) for run in found.runs}
    lacking = [
        LeftOut(run.id, run.comparison, reason)
        for run in found.runs
        if (reason := problems[run.id]) is not None
    ]
    sound = [run for run in found.runs if problems[run.id] is None]
    return Found(sound, [*found.left_out, *lacking], found.count)


def _without_copies(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Each run once: an imported or shipped one may be in the store twice."""
    distinct: dict[tuple[object, ...], RunRecord] = {}
    for run in runs:
        key = (run.id,) if run.is_active else (run.spec, run.started_at, run.finished_at)
        distinct.setdefault(key, run)
    return list(distinct.values())


def _tell_what_is_missing(wanted: RunFilter, found: Found) -> None:
    """Report stored runs that are not shown: invalid ones, others' imports, and the oldest."""
    tell_left_out(names_of(found.left_out))
    if older := found.count - len(found.runs) - len(found.left_out):
        st.info(
            f"{older} of {found.count} runs are left out: this page reads the newest {MOST_READ}. "
            "Narrow the filter to reach older ones."
        )
    if wanted.imports_of is not None:
        count = library().count(replace(wanted, imports_of=None)) - found.count
        if count:
            runs = "1 run" if count == 1 else f"{count} runs"
            st.caption(
                f"{runs} imported by others: choose their comparison or owner in the filter to see "
                "them."
            )


def comparison_titles(
    runs: Sequence[RunRecord], descriptions: dict[str, Description]
) -> dict[str, str]:
    """Distinct titles by comparison: its name, or else its launch time; `runs` newest first."""
    titles: dict[str, str] = {}
    for run in runs:
        if run.comparison in titles:
            continue
        title = descriptions.get(run.comparison, Description()).name or _own_title(run)
        if title in titles.values():
            title = f"{title} ({run.comparison[-6:]})"
        titles[run.comparison] = title
    return titles


def _own_title(run: RunRecord) -> str:
    if run.owner == EXAMPLE_OWNER:
        return f"Example: {run.comparison.removeprefix('example-')}"
    return recorded_time(run.created_at, "%d %b %Y %H:%M")


def _task_box(labels: list[str]) -> str:
    task: str = st.selectbox(
        "Task",
        labels,
        key="task",
        help="Model, images and recipe. Accuracies are comparable within one task only.",
        **URL,
    )
    # The box shows one line of it, and tasks often differ at their ends.
    st.caption(plain(task))
    return task


def _how() -> tuple[float, bool]:
    points = st.number_input(
        "Accuracy tolerance",
        value=1.0,
        min_value=0.0,
        max_value=100.0,
        step=0.5,
        key="tolerance",
        help="How many percentage points of test accuracy below vanilla are acceptable.",
        **URL,
    )
    by_seed = st.toggle(
        "Mean over seeds",
        value=True,
        key="by_seed",
        help="Runs that differ only in their seed are one point, with the mean and the sample "
        "standard deviation. Off shows every run.",
        **URL,
    )
    return points / 100, by_seed


def _filter(titles: dict[str, str]) -> RunFilter:
    chosen: dict[str, tuple[str, ...]] = {}
    for part, (label, explained) in _FILTERS.items():
        names = {_name(part, value): value for value in _values(part)}
        picked = st.multiselect(label, list(names), key=f"only_{part}", help=explained, **URL)
        chosen[part] = tuple(names[name] for name in picked)
    names = {title: comparison for comparison, title in titles.items()}
    picked = st.multiselect(
        "Comparisons",
        list(names),
        key="only_comparison",
        help="Only runs of these comparisons or sweeps.",
        **URL,
    )
    comparisons = tuple(names[name] for name in picked)
    # Runs imported by others are shown only if they are explicitly chosen.
    imports_of = None if comparisons or chosen["owner"] else my_names()
    return RunFilter(**chosen, comparison=comparisons, imports_of=imports_of)


def _values(field: str) -> list[str]:
    found = library().values(field)
    return [status for status in STATUSES if status in found] if field == "status" else found


def _name(field: str, value: str) -> str:
    if field == "owner":
        return "shipped examples" if value == EXAMPLE_OWNER else short_owner(value)
    if field in ("model", "dataset") and is_own(value):
        return own_title(value)
    try:
        if field == "kind":
            return HEAD_LABEL if value == HEAD_KIND else METHODS[value].label
        if field == "model":
            return model_card(value).title
        if field == "dataset":
            return dataset_card(value).title
    except (AsiError, KeyError):
        # A value of a run that cannot be read.
        return value
    return value


def _tasks(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Runs by task: tasks with at least two completed settings first, and among these those of
    visitors, newest first, before the shipped ones, largest first."""
    by_task: dict[RunSpec, list[RunRecord]] = {}
    for run in runs:
        by_task.setdefault(task_of(run.spec), []).append(run)

    def settings_completed(task: RunSpec) -> int:
        done = (run for run in by_task[task] if run.status == "completed")
        return len({without_seed(run.spec) for run in done})

    def place(task: RunSpec) -> tuple[int, bool, int]:
        is_shipped = all(run.owner == EXAMPLE_OWNER for run in by_task[task])
        size = len(by_task[task]) if is_shipped else 0
        return -min(settings_completed(task), 2), is_shipped, -size

    named: dict[str, list[RunRecord]] = {}
    for task in sorted(by_task, key=place):
        label, number = task_label(task), 2
        while label in named:
            label, number = f"{label} ({number})", number + 1
        named[label] = by_task[task]
    return named


def task_label(task: RunSpec) -> str:
    """Model, images and recipe in one line; only recipe settings that are not at their default."""
    recipe = [f"{name.replace('_', ' ')} {value}" for name, value in changed_recipe(task).items()]
    steps = f"{task.steps} steps of {task.batch_size}"
    if task.own is not None:
        # Two networks of one name are distinguished by what they start from.
        recipe.append(f"start {task.own.weights[:8]}")
    parts = (task.model_label, task.data_label, steps, task.inputs_label)
    return " · ".join((*parts, *recipe))
