"""Events of runs as rows, read from the store as they arrive: each once per server."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from statistics import median
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from asi_core.errors import one_sentence
from asi_core.figures.curves import RunRows, known_mean, median_step
from asi_core.records import HEAD_KIND, HEAD_LABEL
from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.validity.probes import check_events
from asi_core.runs.validity.rows import check_record
from asi_core.runs.validity.specs import InvalidRun
from asi_core.training.events import LAST_MEASURED, LayerProbe, ProbeEvent, TimelineEvent

Known = TypeVar("Known", float, float | None)

# Limits of the cache: a run of a thousand steps takes less than a megabyte.
_MOST_FEEDS, _MOST_STEPS = 300, 300_000


@dataclass(frozen=True)
class RunFeed:
    """The events of one run that had been read at some moment; immutable.

    Attributes:
        steps, evaluations: rows by ascending step.
        probes: step -> layer -> probe.
        probe_seconds: the time of all probes together.
        timeline: the memory of one step over time; None if it is not recorded (yet).
        problem: why the run is invalid and not drawn, without a full stop.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    probes: dict[int, dict[str, LayerProbe]] = field(default_factory=dict)
    probe_seconds: float = 0.0
    timeline: TimelineEvent | None = None
    problem: str | None = None
    _known: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False)

    def with_news(self, store: RunStore, run: RunRecord) -> RunFeed:
        """This feed plus any newer events in the store; itself if there are none."""
        if self.problem is not None:
            return self
        try:
            check_record(run)
            return self._read_on(store, run)
        except (InvalidRun, ValidationError) as error:
            return RunFeed(problem=f"{one_sentence(error):.200}".rstrip("."))

    def _read_on(self, store: RunStore, run: RunRecord) -> RunFeed:
        steps = store.events(run.id, "step", after_step=_last(self.steps))
        evaluations = store.events(run.id, "evaluation", after_step=_last(self.evaluations))
        probes = store.events(run.id, "probe", after_step=max(self.probes, default=-1))
        if not (steps or evaluations or probes):
            return self
        # It is of one of the first steps, and stored right after it.
        is_early = self.timeline is None and _last(self.steps) <= LAST_MEASURED
        over_time = store.events(run.id, "timeline") if is_early else ()
        check_events(run.spec, [*steps, *evaluations, *probes, *over_time])
        found = [event for event in probes if isinstance(event, ProbeEvent)]
        names = list(next(iter(self.probes.values()), {}))
        if names and any([layer.name for layer in probe.layers] != names for probe in found):
            raise InvalidRun("probes of one run have different layers")
        return RunFeed(
            [*self.steps, *(event.model_dump() for event in steps)],
            [*self.evaluations, *(event.model_dump() for event in evaluations)],
            self.probes | {e.step: {layer.name: layer for layer in e.layers} for e in found},
            self.probe_seconds + sum(event.seconds or 0.0 for event in found),
            next((e for e in over_time if isinstance(e, TimelineEvent)), self.timeline),
        )

    def mean(self, field: str) -> float | None:
        """Mean of a field over the steps so far with a whole batch; None before the first step, and
        if the field is unknown at some step."""
        return self._once("mean", field, lambda: known_mean(self.steps, field))

    def median(self, field: str) -> float:
        """Median, over at least one step so far, of a field that all step events have."""
        return self._once("median", field, lambda: float(median(row[field] for row in self.steps)))

    @property
    def last_step(self) -> int:
        """How many steps are done; not every run keeps the numbers of all steps."""
        return max(_last(self.steps), 0)

    @property
    def median_step(self) -> float:
        """Seconds of the median step; 0 without steps."""
        return self._once("median", "step", lambda: median_step(self.steps))

    @property
    def version(self) -> tuple[int, int, int]:
        """Identifies the events that this feed holds."""
        return _last(self.steps), _last(self.evaluations), max(self.probes, default=-1)

    def rows(self, run: RunRecord, label: str) -> RunRows:
        """The run's rows for figures."""
        return RunRows(label, run_style(run), self.steps, self.evaluations)

    def _once(self, what: str, field: str, compute: Callable[[], Known]) -> Known:
        # Cached: all visitors of the run need the same numbers.
        key = (what, field)
        if key not in self._known:
            self._known[key] = compute()
        found: Known = self._known[key]
        return found


class _Read(NamedTuple):
    """A run's feed, when it was read, and whether it is complete."""

    feed: RunFeed = RunFeed()
    at: float = -inf
    is_whole: bool = False


class Feeds:
    """The feeds of runs, for all visitors of this server: each event is read once. A feed is served
    for `fresh_seconds` before the store is read again."""

    def __init__(self, store: RunStore, fresh_seconds: float = 0.5) -> None:
        self._store, self._fresh_seconds = store, fresh_seconds
        self._guard = Lock()
        self._locks: dict[str, Lock] = {}
        self._read: OrderedDict[str, _Read] = OrderedDict()

    def of(self, run: RunRecord, slowness: float = 1.0) -> RunFeed:
        """A run's events up to now, all of them if it has ended. `slowness` is a factor on
        `fresh_seconds`: many visitors then get the same feed, whose figures are drawn once."""
        with self._guard:
            lock = self._locks.setdefault(run.id, Lock())
        # One thread reads; those that wait for it use its result.
        with lock:
            known = self._read.get(run.id, _Read())
            is_fresh = time.monotonic() - known.at <= self._fresh_seconds * slowness
            if known.is_whole or (is_fresh and run.is_active):
                return known.feed
            feed = known.feed.with_news(self._store, run)
            self._keep(run.id, _Read(feed, time.monotonic(), is_whole=not run.is_active))
        return feed

    def _keep(self, run_id: str, read: _Read) -> None:
        with self._guard:
            self._read[run_id] = read
            self._read.move_to_end(run_id)
            while len(self._read) > 1 and self._is_too_much():
                oldest, _ = self._read.popitem(last=False)
                self._locks.pop(oldest, None)

    def _is_too_much(self) -> bool:
        steps = sum(len(read.feed.steps) for read in self._read.values())
        return len(self._read) > _MOST_FEEDS or steps > _MOST_STEPS


def run_label(run: RunRecord) -> str:
    """A run's name within its comparison."""
    return HEAD_LABEL if run.spec.layers == 0 else run.spec.method.label


def run_style(run: RunRecord) -> str:
    """The key of a run's style in figures."""
    return HEAD_KIND if run.spec.layers == 0 else run.spec.method.kind


def _last(rows: list[dict[str, Any]]) -> int:
    return int(rows[-1]["step"]) if rows else -1
