"""Scaling with visitors: the store measured here, and a simulated queue of 10 000 visitors.

    python -m benchmarks.scaling [--write]

Prints JSON; `--write` writes the numbers to docs/scaling.md. PostgreSQL is measured if its
binaries are installed.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asi_core.runs.store.fair_queue import Served, Waiting, in_line
from asi_core.runs.store.run_store import RunStore
from asi_core.training.events import StepEvent
from asi_core.training.spec import RunSpec
from benchmarks.marked import write_table
from tests.postgres import Postgres, find_postgres

_SPEC = RunSpec.model_validate({"method": {"kind": "vanilla"}, "layers": 1})

_VISITORS = 10_000
_RUNS_EACH = 5
_HOURS = 8.0
# Duration of the runs of the default comparison, seconds on two cores; they differ.
_RUN_SECONDS = 20.0


def main() -> int:
    """Measure, print, and write the document if requested."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = {"stores": dict(_stores()), "queue": [_simulated(workers) for workers in (40, 48, 64)]}
    print(json.dumps(found, indent=2))
    if options.write:
        write_table("scaling.md", "figures", _message(found).rstrip("\n"))
    return 0


def _stores() -> Iterator[tuple[str, dict[str, float]]]:
    with tempfile.TemporaryDirectory() as folder:
        yield "SQLite", _store_figures(f"sqlite:///{Path(folder) / 'asi.sqlite'}")
    with _postgres() as url:
        if url is not None:
            yield "PostgreSQL", _store_figures(url)


@contextmanager
def _postgres() -> Iterator[str | None]:
    binaries = find_postgres()
    if binaries is None:
        yield None
        return
    server = Postgres(binaries)
    try:
        yield server.url
    finally:
        server.remove()


def _store_figures(url: str) -> dict[str, float]:
    """Milliseconds of operations of visitors and workers, with a queue of 400 runs of 40 owners."""
    store = RunStore(url)
    for number in range(40):
        store.create([_SPEC.model_copy(update={"seed": n}) for n in range(10)], f"owner {number}")
    claimed: list[tuple[str, str]] = []

    def claim() -> None:
        found = store.claim_next("here")
        assert found is not None
        claimed.append((found[0].id, found[1]))

    figures = {"claim the next run": _milliseconds(claim, 50)}
    run_id, token = claimed[0]
    steps = iter(range(1, 10**6))

    def append() -> None:
        store.append(run_id, token, [_step(next(steps)) for _ in range(50)])

    figures["write 50 steps"] = _milliseconds(append, 50)
    figures["beat"] = _milliseconds(lambda: store.append(run_id, token, []), 100)
    figures["read the newest 50 steps"] = _milliseconds(
        lambda: store.events(run_id, "step", after_step=2450), 50
    )
    figures["list active runs"] = _milliseconds(lambda: store.attempts.running(), 50)
    figures["launch five runs"] = _milliseconds(lambda: store.create([_SPEC] * 5, "me"), 30)
    store.close()
    return figures


def _milliseconds(what: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        what()
        taken.append(1e3 * (time.perf_counter() - started))
    return round(statistics.median(taken), 2)


def _step(step: int) -> StepEvent:
    numbers = dict.fromkeys(StepEvent.model_fields, 1)
    return StepEvent.model_validate({**numbers, "step": step, "kind": "step"})


def _simulated(workers: int) -> dict[str, Any]:
    """A day of visitors who each launch a comparison, one in a hundred a sweep of 40 runs.

    Runs are started in the order of `in_line`, each in the next free place.
    """
    draw = random.Random(5)  # noqa: S311 (a simulation)
    arrivals = sorted(draw.uniform(0, _HOURS * 3600) for _ in range(_VISITORS))
    free, ends = workers, [(float("inf"), "")]
    waiting: dict[str, Waiting] = {}
    running: Counter[str] = Counter()
    last: dict[str, float] = {}
    begun_of: dict[str, float] = {}
    launched: dict[str, tuple[float, int]] = {}
    coming, longest = iter(enumerate(arrivals)), 0
    visitor = next(coming, None)
    now = 0.0
    while visitor is not None or len(ends) > 1 or waiting:
        arrival = visitor[1] if visitor is not None else float("inf")
        if arrival <= ends[0][0]:
            assert visitor is not None
            number, now = visitor
            owner, size = f"v{number}", 40 if draw.random() < 0.01 else _RUNS_EACH
            launched[owner] = now, size
            for position in range(size):
                run = Waiting(f"{owner}-{position}", owner, now, True, position)
                waiting[run.id] = run
            visitor = next(coming, None)
        else:
            now, owner = heapq.heappop(ends)
            free += 1
            running[owner] -= 1
        longest = max(longest, len(waiting))
        if not free:
            continue
        owners = {run.owner for run in waiting.values()}
        served = {o: Served(running[o], last.get(o, 0.0)) for o in owners}
        for name in in_line(list(waiting.values()), served):
            if not free:
                break
            run = waiting.pop(name)
            free -= 1
            running[run.owner] += 1
            last[run.owner] = now
            begun_of.setdefault(run.owner, now)
            heapq.heappush(ends, (now + draw.expovariate(1 / _RUN_SECONDS), run.owner))
    first = {o: begun_of[o] - at for o, (at, _) in launched.items()}
    usual = [wait for o, wait in first.items() if launched[o][1] == _RUNS_EACH]
    return {
        "places": workers,
        "visitors": _VISITORS,
        "hours": _HOURS,
        "busy": round(
            sum(n for _, n in launched.values()) * _RUN_SECONDS / (workers * _HOURS * 3600), 2
        ),
        "first_run_begins_after": {
            "median": round(statistics.median(usual), 1),
            "p95": round(statistics.quantiles(usual, n=20)[-1], 1),
            "p99": round(statistics.quantiles(usual, n=100)[-1], 1),
        },
        "longest_queue": longest,
    }


def _message(found: dict[str, Any]) -> str:
    stores = list(found["stores"])
    lines = [
        "| milliseconds, median | " + " | ".join(stores) + " |",
        "|---" * (len(stores) + 1) + "|",
    ]
    for what in found["stores"][stores[0]]:
        cells = (f"{found['stores'][store][what]:.1f}" for store in stores)
        lines.append(f"| {what} | {' | '.join(cells)} |")
    lines += [
        "",
        "| places | busy | the first run begins after: median | 95 % | 99 % | longest queue |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["queue"]:
        waits = row["first_run_begins_after"]
        times = " | ".join(f"{waits[key]:.0f} s" for key in ("median", "p95", "p99"))
        lines.append(
            f"| {row['places']} | {100 * row['busy']:.0f} % | {times} | {row['longest_queue']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
