"""Write docs/equal_memory.md from the study's runs and measurements in the store.

Beside it, docs/equal_memory.jsonl has a line for each run.

    python -m studies.equal_memory.report [--time ROUNDS] [--figure PATH.html] [--ship]

Nothing is trained here. Every accuracy comes from runs whose ids are beside it. With `--time`, the
steps of all settings are timed first, in turns: do that while the machine does nothing else.
`--ship` writes the runs of one network and number of layers to data/examples/, which Compare shows.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asi_core.costs.timeline.records import Timeline
from asi_core.errors import InvalidInput
from asi_core.figures.equal_memory import PricedCurve, PricedPoint, plot_over_price
from asi_core.methods import METHODS, REFERENCE_KIND
from asi_core.records import HEAD_KIND, HEAD_LABEL
from asi_core.results.differences import task_of
from asi_core.results.equal_memory import MemoryPoint, best_of_each, step_bytes, winners
from asi_core.results.outcomes import Outcome, outcomes_by_seed
from asi_core.results.poster_study import method_label
from asi_core.runs.exchange.examples import SHIPPED_FOLDER, write_example
from asi_core.runs.records import RunRecord
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.library import RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from asi_core.units import MIB, format_bytes, format_seconds, layer_count
from asi_core.zoo.cards import model_card
from studies.equal_memory.run import FULL, NAME, RATES_NAME, Study
from studies.equal_memory.times import key_of, read_times, write_times
from studies.poster.run import without_folder

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "equal_memory.md"
# Of these the answer names the best within each budget, whether or not it is among the winners.
_BESIDE = (REFERENCE_KIND, "asi")
# What is shipped: methods at this number of layers with the whole batch, and the head.
_SHIPPED_MODEL, _SHIPPED_LAYERS = "efficientnet_lite0", 4
# Interval of their shipped steps.
_SHIPPED_STEP = 10
BUDGETS = tuple(int(mib * MIB) for mib in (0.25, 1, 4, 16, 32))


class Found:
    """What the store has of the study.

    Attributes:
        points: by network, the settings with accuracy and measured memory.
        rates: runs in which learning rates were chosen.
    """

    def __init__(self, url: str) -> None:
        self.store, self.jobs = RunStore(url), JobStore(url)
        library = RunLibrary(url)
        self._times = read_times()
        names = {c: d.name for c, d in library.descriptions().items()}
        library.close()
        results = self._runs(names, f"{NAME}:")
        self.rates = self._runs(names, RATES_NAME)
        self.points: dict[str, list[MemoryPoint]] = defaultdict(list)
        for model in dict.fromkeys(run.spec.model for run in results):
            outcomes = outcomes_by_seed(run for run in results if run.spec.model == model)
            self.points[model] = list(self._measured(outcomes))

    def timelines(self, specs: Sequence[RunSpec]) -> dict[RunSpec, Timeline]:
        """The measured memory of steps, of those that were measured."""
        return {
            spec: Timeline.from_dict(job.result)
            for spec, job in self.jobs.answers("timeline", specs).items()
            if job.result is not None
        }

    def _runs(self, names: Mapping[str, str], beginning: str) -> list[RunRecord]:
        """The completed runs of all comparisons of the study whose name so begins. Of several with
        one name the newest counts: the others are of attempts that were given up."""
        newest: dict[str, list[RunRecord]] = {}
        for comparison, name in names.items():
            runs = self.store.comparison(comparison) if name.startswith(beginning) else []
            if runs and (name not in newest or runs[0].created_at > newest[name][0].created_at):
                newest[name] = runs
        return [run for runs in newest.values() for run in runs if run.status == "completed"]

    def _measured(self, outcomes: Sequence[Outcome]) -> Iterable[MemoryPoint]:
        found = self.timelines([run.spec for outcome in outcomes for run in outcome.runs])
        for outcome in outcomes:
            timeline = next((found[run.spec] for run in outcome.runs if run.spec in found), None)
            if timeline is not None and "accuracy" in outcome.measures:
                spec = outcome.spec
                share = spec.pass_size / spec.batch_size
                seconds = self._times.get(key_of(spec))
                yield MemoryPoint(outcome, step_bytes(timeline, share), seconds)


def document(found: Found) -> str:
    """The content of docs/equal_memory.md.

    Raises:
        InvalidInput: if the store has no run of the study.
    """
    if not found.points:
        raise InvalidInput(
            "the store must have runs of the study", "none", "run studies.equal_memory.run first"
        )
    parts = [_head(found), "## The answer", _claims(found)]
    for model, points in found.points.items():
        title = model_card(model).title
        parts += [f"## {title} within a budget", _budgets(points)]
        parts += [f"## All settings of {title}", _settings(points)]
    parts += ["## Learning rates", _rates(found)]
    if rows := _transformer(found):
        parts += [f"## {model_card(FULL.transformer or '').title}, bytes", rows]
    return "\n\n".join((*parts, ""))


def each_run(found: Found) -> Iterator[dict[str, Any]]:
    """Every run of the document, results first: what it trained and how, and what came out."""
    for model in found.points.values():
        for point in model:
            for run in point.outcome.runs:
                measured = {"peak_bytes": point.step_bytes, "step_seconds": point.seconds}
                yield {**_of_run(run), **measured}
    yield from map(_of_run, found.rates)


def _of_run(run: RunRecord) -> dict[str, Any]:
    spec = run.spec.model_dump(mode="json", exclude_defaults=True)
    spec["method"] = run.spec.method.model_dump(mode="json", exclude_none=True)
    # Where the images were is no part of the result.
    spec["dataset"] = re.sub("(?<=^imagefolder:).*", "PATH", spec["dataset"])
    return {"run": run.id, "spec": spec, "accuracy": (run.summary or {}).get("test_accuracy")}


def figure(points: Sequence[MemoryPoint], title: str, *, of_time: bool) -> Any:
    """Accuracy over the memory of a step, or over its time: a curve for each method."""
    curves = [
        PricedCurve(_method(kind), kind, tuple(_priced(p, of_time) for p in front))
        for kind, front in best_of_each(points).items()
    ]
    if of_time:
        return plot_over_price(curves, title=title, price="step time (measured)", unit="s")
    price = "peak memory of a step (measured)"
    return plot_over_price(curves, title=title, price=price, unit="MiB", scale=MIB)


def _priced(point: MemoryPoint, of_time: bool) -> PricedPoint:
    interval = point.outcome.accuracy_interval
    return PricedPoint(
        point.outcome.label,
        point.accuracy,
        point.seconds if of_time else point.step_bytes,
        None if interval is None else interval.low,
        None if interval is None else interval.high,
    )


def ship(found: Found, folder: Path = SHIPPED_FOLDER) -> Path:
    """Write the runs of one network, number of layers and the whole batch as an example: those at
    the learning rate that most methods have, as only runs of one recipe are compared on a page."""
    by_task: dict[RunSpec, list[RunRecord]] = defaultdict(list)
    for point in found.points[_SHIPPED_MODEL]:
        for run in point.outcome.runs:
            if run.spec.layers in (_SHIPPED_LAYERS, 0) and run.spec.micro_batch is None:
                by_task[task_of(run.spec)].append(run)
    runs = max(by_task.values(), key=len)
    shown = [replace(run, spec=without_folder(run.spec)) for run in runs]
    path = folder / "equal-memory.json.gz"
    write_example(found.store, shown, path, step_every=_SHIPPED_STEP)
    return path


def _head(found: Found) -> str:
    points = [point for each in found.points.values() for point in each]
    runs = [run for point in points for run in point.outcome.runs]
    spec = runs[0].spec
    count = points[0].outcome.test_images
    images = "an unknown number of" if count is None else str(count)
    most_seeds = max(len(point.outcome.seeds) for point in points)
    return f"""# At equal memory

Who is most accurate at the same peak memory of a whole training step? All methods at several
settings, numbers of trained layers and micro-batches, fine-tuned on the same images
({images} for testing) for {spec.steps} steps of {spec.batch_size}, with
{most_seeds} seeds each, or one where micro-batches only repeat the whole batch's gradient:
{len(runs)} runs, and {len(found.rates)} in which the learning rate of each method and number of
layers was chosen on the same grid, with another seed but on the same test images.

The memory of a step is measured: trained weights, gradients, optimiser state, the batch (or one
micro-batch of it), what is kept and what operators need within, at the worst moment, without
frozen weights. Accuracies are means over seeds with their 95 % interval; two settings are
compared by their paired differences over the seeds. Settings whose difference may be chance are
a tie, and all of them are named, cheapest first. These are short runs: docs/results.md has the
same network with vanilla and ASI for 600 steps, which reach more. ASI, LoRA over ASI and WASI
update their factors at every step. {_times_note(points)} Written by
`python -m studies.equal_memory.report` from the store; [equal_memory.jsonl](equal_memory.jsonl) has
a line for each run, with its whole specification."""


def _times_note(points: Sequence[MemoryPoint]) -> str:
    if all(point.timed_seconds is not None for point in points):
        return "Step times are medians of steps of all settings in turns, in one process."
    return "Step times are medians of each run, on a machine that also did other work."


def _claims(found: Found) -> str:
    """One sentence for each network and budget, whomever it favours."""
    lines = []
    for model, points in found.points.items():
        for budget in BUDGETS:
            won, place = winners(points, budget), f"Within {format_bytes(budget)}"
            if won.fastest is None:
                lines.append(f"- {model_card(model).title}: {place} no setting fits.")
                continue
            kinds = dict.fromkeys(_method(p.outcome.kind) for p in won.best)
            verb = "tie as the most accurate" if len(kinds) > 1 else "is the most accurate"
            lines.append(
                f"- {model_card(model).title}: {place} {_listed(list(kinds))} {verb}; the fastest "
                f"of these settings is {_name(won.fastest)}.{_beside(points, budget)}"
            )
    return "\n".join(lines)


def _beside(points: Sequence[MemoryPoint], budget: int) -> str:
    """How far vanilla and ASI get within the budget, where something of them fits."""
    parts = []
    for kind in _BESIDE:
        fitting = [p for p in points if p.outcome.kind == kind and p.step_bytes <= budget]
        if fitting:
            best = max(fitting, key=lambda point: point.accuracy)
            parts.append(f"{_name(best)} {100 * best.accuracy:.1f} %")
    names = _listed([_method(kind) for kind in _BESIDE])
    return f" The best of {names}: {'; '.join(parts)}." if parts else ""


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _budgets(points: Sequence[MemoryPoint]) -> str:
    rows = []
    for budget in BUDGETS:
        won = winners(points, budget)
        for point in won.best:
            fastest = "yes" if point is won.fastest else ""
            rows.append([format_bytes(budget), *_cells(point), fastest])
    header = ("budget", "setting", "accuracy, %", "peak of a step", "step", "runs", "fastest")
    return _table(header, rows)


def _settings(points: Sequence[MemoryPoint]) -> str:
    ordered = sorted(points, key=lambda point: point.step_bytes)
    header = ("setting", "accuracy, %", "peak of a step", "step", "runs")
    return _table(header, [_cells(point) for point in ordered])


def _cells(point: MemoryPoint) -> list[str]:
    runs = sorted(point.outcome.runs, key=lambda run: run.spec.seed)
    return [
        _name(point),
        f"{100 * point.accuracy:.1f}{_between(point.outcome)}",
        format_bytes(point.step_bytes),
        format_seconds(point.seconds),
        ", ".join(f"`{run.id}`" for run in runs),
    ]


def _between(outcome: Outcome) -> str:
    """The accuracy's interval, in brackets."""
    interval = outcome.accuracy_interval
    if interval is None:
        return ""
    return f" ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def _method(kind: str) -> str:
    return HEAD_LABEL if kind == HEAD_KIND else METHODS[kind].label


def _name(point: MemoryPoint) -> str:
    spec = point.outcome.spec
    size = "" if spec.micro_batch is None else f", micro-batches of {spec.micro_batch}"
    if point.outcome.kind == HEAD_KIND:
        return f"{HEAD_LABEL}{size}"
    return f"{method_label(spec.method)}, {layer_count(spec.layers)}{size}"


def _rates(found: Found) -> str:
    by_method: dict[tuple[str, str, str], dict[float, float]] = defaultdict(dict)
    for run in found.rates:
        layers = str(run.spec.layers)
        key = model_card(run.spec.model).title, layers, run.spec.method.label
        by_method[key][run.spec.learning_rate] = (run.summary or {})["test_accuracy"]
    rates = sorted({rate for each in by_method.values() for rate in each})
    rows = [
        [*key, *(f"{100 * each[rate]:.1f}" if rate in each else "–" for rate in rates)]
        for key, each in by_method.items()
    ]
    return _table(("network", "layers", "method", *(f"{rate:g}" for rate in rates)), rows)


def _transformer(found: Found) -> str:
    """Measured steps of the transformer, whose weights are random; empty if there are none."""
    if FULL.transformer is None or not found.rates:
        return ""
    study = Study(found.rates[0].spec.dataset, FULL, lambda: False)
    specs = list(study.of_transformer(FULL.transformer))
    timelines = found.timelines(specs)
    rows = [
        [
            method_label(spec.method),
            format_bytes(timelines[spec].kept_bytes),
            format_bytes(step_bytes(timelines[spec])),
        ]
        for spec in specs
        if spec in timelines
    ]
    header = ("setting", "kept for backward", "peak of a step")
    return _table(header, rows) if rows else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None, target: Path = TARGET) -> int:
    """Write the document, and the figure if it is asked for."""
    parser = argparse.ArgumentParser(description="Write docs/equal_memory.md from the store.")
    parser.add_argument("--figure", type=Path, metavar="PATH.html", help="also write the figures")
    parser.add_argument("--time", type=int, metavar="ROUNDS", help="time all settings first")
    parser.add_argument("--ship", action="store_true", help="also write the shipped example")
    options = parser.parse_args(arguments)
    found = Found(read_settings().database_url)
    if options.time is not None:
        points = [point for each in found.points.values() for point in each]
        write_times([point.outcome.spec for point in points], options.time)
        found = Found(read_settings().database_url)
    target.write_text(document(found))
    beside = target.with_suffix(".jsonl")
    beside.write_text("\n".join((*map(json.dumps, each_run(found)), "")), encoding="utf-8")
    print(target.name, beside.name)
    if options.ship:
        print(ship(found).name)
    if options.figure is not None:
        parts = [
            figure(points, f"{model_card(model).title} at equal memory", of_time=of_time)
            for model, points in found.points.items()
            for of_time in (False, True)
        ]
        html = [p.to_html(full_html=False, include_plotlyjs=n == 0) for n, p in enumerate(parts)]
        options.figure.write_text("\n".join(html))
    return 0


if __name__ == "__main__":
    sys.exit(main())
