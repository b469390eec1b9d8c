"""Events of runs as rows, read from the store as they come: each is read once a server."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from statistics import median
from threading import Lock
from typing import Any, TypeVar

from pydantic import ValidationError

from asi_core.errors import one_sentence
from asi_core.figures.curves import RunRows, known_mean, median_step
from asi_core.records import HEAD_KIND, HEAD_LABEL
from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.validity.probes import check_events
from asi_core.runs.validity.rows import check_record
from asi_core.runs.validity.specs import InvalidRun
from asi_core.training.events import LayerProbe, ProbeEvent

Known = TypeVar("Known", float, float | None)

# Whose events are held in memory: a run of a thousand steps has less than a megabyte.
_MOST_FEEDS, _MOST_STEPS = 300, 300_000


@dataclass(frozen=True)
class RunFeed:
    """What has been read of one run up to some moment; it does not change any more.

    Attributes:
        steps, evaluations: as rows, ascending.
        probes: step -> layer -> probe.
        probe_seconds: what all of them took.
        problem: what no run can have, without a full stop; such a run is not drawn.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    probes: dict[int, dict[str, LayerProbe]] = field(default_factory=dict)
    probe_seconds: float = 0.0
    problem: str | None = None
    _known: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False)

    def with_news(self, store: RunStore, run: RunRecord) -> RunFeed:
        """This and what the store has beyond it; itself if that is nothing."""
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
        check_events(run.spec, [*steps, *evaluations, *probes])
        found = [event for event in probes if isinstance(event, ProbeEvent)]
        names = list(next(iter(self.probes.values()), {}))
        if names and any([layer.name for layer in probe.layers] != names for probe in found):
            raise InvalidRun("probes of one run have different layers")
        return RunFeed(
            [*self.steps, *(event.model_dump() for event in steps)],
            [*self.evaluations, *(event.model_dump() for event in evaluations)],
            {**self.probes, **{event.step: _by_layer(event) for event in found}},
            self.probe_seconds + sum(event.seconds or 0.0 for event in found),
        )

    def mean(self, field: str) -> float | None:
        """Of a field of step events, over the steps so far; None before the first, and where it is
        not known of all of them."""
        return self._once("mean", field, lambda: known_mean(self.steps, field))

    def median(self, field: str) -> float:
        """Of a field that all step events have, over the steps so far; there must be one."""
        return self._once("median", field, lambda: float(median(row[field] for row in self.steps)))

    @property
    def last_step(self) -> int:
        """How many steps are done; of some runs not every step's numbers are kept."""
        return max(_last(self.steps), 0)

    @property
    def median_step(self) -> float:
        """Seconds of the median step; 0 without steps."""
        return self._once("median", "step", lambda: median_step(self.steps))

    @property
    def version(self) -> tuple[int, int, int]:
        """Tells what is here from what was here before."""
        return _last(self.steps), _last(self.evaluations), max(self.probes, default=-1)

    def rows(self, run: RunRecord, label: str) -> RunRows:
        """As figures want it."""
        return RunRows(label, run_style(run), self.steps, self.evaluations)

    def _once(self, what: str, field: str, compute: Callable[[], Known]) -> Known:
        # All who look at the run ask for the same.
        key = (what, field)
        if key not in self._known:
            self._known[key] = compute()
        found: Known = self._known[key]
        return found


@dataclass(frozen=True)
class _Read:
    """What was read of a run, when, and whether no more will come."""

    feed: RunFeed = field(default_factory=RunFeed)
    at: float = -inf
    is_whole: bool = False


class Feeds:
    """What has been read of runs, for all visitors of this server: each event is read once.

    Args:
        fresh_seconds: for which what has been read is not asked for again.
    """

    def __init__(self, store: RunStore, fresh_seconds: float = 0.5) -> None:
        self._store, self._fresh_seconds = store, fresh_seconds
        self._guard = Lock()
        self._locks: dict[str, Lock] = {}
        self._read: OrderedDict[str, _Read] = OrderedDict()

    def of(self, run: RunRecord, slowness: float = 1.0) -> RunFeed:
        """A run's events up to now, all of them if it has ended.

        Args:
            slowness: by how much longer what has been read is good enough. Many who look at a run
                that goes on are then shown the same, which is drawn once.
        """
        with self._guard:
            lock = self._locks.setdefault(run.id, Lock())
        # One reads, and those who come meanwhile have what it has read.
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


def _by_layer(event: ProbeEvent) -> dict[str, LayerProbe]:
    return {layer.name: layer for layer in event.layers}


def run_label(run: RunRecord) -> str:
    """The name of a run inside its comparison."""
    return HEAD_LABEL if run.spec.layers == 0 else run.spec.method.label


def run_style(run: RunRecord) -> str:
    """The key of a run's look."""
    return HEAD_KIND if run.spec.layers == 0 else run.spec.method.kind


def _last(rows: list[dict[str, Any]]) -> int:
    return int(rows[-1]["step"]) if rows else -1
