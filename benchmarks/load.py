"""Many visitors on one machine: their waiting times, and the slowdown of a training run.

    python -m benchmarks.load [--sessions 50] [--seconds 60] [--write]

Sessions are websocket clients that behave like a browser on the Train page: they load it, then
request each self-refreshing part at its interval. The run's steps are counted without sessions,
with them, and without them again, in one go. Prints JSON; `--write` writes the numbers to
docs/reliability.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from asi_core.runs.store.run_store import RunStore
from asi_core.training.spec import RunSpec
from benchmarks.marked import write_table
from tests.browser.app import Server, running_app
from tests.waiting import wait_for

_ALONE_SECONDS = 30.0
_GIVE_UP_SECONDS = 60.0
_RERUN_FOLLOWS = ForwardMsg.ScriptFinishedStatus.FINISHED_EARLY_FOR_RERUN
# Sessions start one after the other, as visitors do who receive a link.
_ARRIVAL_SECONDS = 0.2


@dataclass
class Waits:
    """Seconds that sessions waited for complete responses."""

    loads: list[float] = field(default_factory=list)
    refreshes: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass
class Session:
    """One browser window on the Train page."""

    connection: ClientConnection
    query: str
    waits: Waits
    page: str = ""
    parts: dict[str, float] = field(default_factory=dict)

    async def ask(self, fragment: str = "") -> float:
        """Request the page or a part of it; returns the seconds until all of it was received."""
        started = time.perf_counter()
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_name, state.page_script_hash = self.query, "train", self.page
        if fragment:
            state.fragment_id, state.is_auto_rerun = fragment, True
        await self.connection.send(message.SerializeToString())
        while True:
            received = await asyncio.wait_for(self.connection.recv(decode=False), _GIVE_UP_SECONDS)
            answer = ForwardMsg.FromString(bytes(received))
            kind = answer.WhichOneof("type")
            if kind == "navigation":
                self.page = answer.navigation.page_script_hash
            elif kind == "auto_rerun":
                self.parts[answer.auto_rerun.fragment_id] = answer.auto_rerun.interval
            elif kind == "delta" and answer.delta.new_element.WhichOneof("type") == "exception":
                self.waits.failures.append(answer.delta.new_element.exception.message)
            elif kind == "script_finished" and answer.script_finished == _RERUN_FOLLOWS:
                # The whole page is reloaded, with new parts.
                self.parts.clear()
            elif kind == "script_finished":
                return time.perf_counter() - started


async def visit(app: Server, query: str, until: float, waits: Waits) -> None:
    """Load the page and watch it until `until`, of the monotonic clock."""
    url = app.url.replace("http", "ws") + "/_stcore/stream"
    async with connect(url, subprotocols=["streamlit"], max_size=None) as connection:  # type: ignore[list-item]
        session = Session(connection, query, waits)
        waits.loads.append(await session.ask())
        due = {part: time.monotonic() + seconds for part, seconds in session.parts.items()}
        while time.monotonic() < until:
            if not due:
                raise AssertionError("the page of an active run has no refreshing part")
            part = min(due, key=due.__getitem__)
            await asyncio.sleep(max(due[part] - time.monotonic(), 0))
            waits.refreshes.append(await session.ask(part))
            now = time.monotonic()
            parts = session.parts
            due = {p: due.get(p, now + every) for p, every in parts.items()}
            if part in parts:
                due[part] = now + parts[part]


async def visits(app: Server, query: str, count: int, seconds: float) -> Waits:
    waits = Waits()
    until = time.monotonic() + seconds
    tasks = []
    for _ in range(count):
        tasks.append(asyncio.create_task(visit(app, query, until, waits)))
        await asyncio.sleep(_ARRIVAL_SECONDS)
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, BaseException):
            waits.failures.append(f"{type(outcome).__name__}: {outcome}")
    return waits


def measure(sessions: int, seconds: float) -> dict[str, Any]:
    """The numbers, with one run of the default settings active all the time."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = RunStore(f"sqlite:///{home / 'asi.sqlite'}")
        asi = {"kind": "asi", "explained_variance": 0.8}
        spec = RunSpec.model_validate({"method": asi, "steps": 20_000})
        (run,) = store.create([spec], "local")

        def steps() -> int:
            found = store.events(run.id, "step", after_step=seen[0])
            seen[0] = found[-1].step if found else seen[0]
            return seen[0]

        seen = [-1]
        with running_app(home) as app:
            # Until every image has passed through the frozen part.
            wait_for(lambda: steps() > 5000 / spec.batch_size * 1.5, 300, "the first epoch")
            before = _pace(steps, _ALONE_SECONDS)
            started, begun = time.monotonic(), steps()
            waits = asyncio.run(visits(app, f"comparison={run.comparison}", sessions, seconds))
            watched = (steps() - begun) / (time.monotonic() - started)
            after = _pace(steps, _ALONE_SECONDS)
            store.request_cancel(run.id)
            wait_for(lambda: not _active(store, run.id), 60, "the run's end")
        count = len(store.events(run.id, "step"))
        assert count == seen[0] or count == steps(), "rows were lost or doubled"
        store.close()
    alone = statistics.fmean([before, after])
    return {
        "sessions": sessions,
        "cores": os.cpu_count(),
        "seconds": seconds,
        "load_seconds": _spread(waits.loads),
        "refresh_seconds": _spread(waits.refreshes),
        "refreshes_per_second": len(waits.refreshes) / seconds,
        "failures": waits.failures,
        "steps_per_second": {"before": before, "watched": watched, "after": after},
        "slowdown": 1 - watched / alone,
    }


def _pace(steps: Any, seconds: float) -> float:
    started, begun = time.monotonic(), steps()
    wait_for(lambda: time.monotonic() > started + seconds, seconds + 5, "the time")
    return float((steps() - begun) / (time.monotonic() - started))


def _active(store: RunStore, run_id: str) -> bool:
    run = store.run(run_id)
    return run is not None and run.is_active


def _spread(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        return {"median": values[0] if values else float("nan"), "p95": float("nan")}
    return {"median": statistics.median(values), "p95": statistics.quantiles(values, n=20)[-1]}


def _message(found: dict[str, Any]) -> str:
    loads, refreshes, pace = (
        found[name] for name in ("load_seconds", "refresh_seconds", "steps_per_second")
    )
    return (
        f"{found['sessions']} browser sessions, {1 / _ARRIVAL_SECONDS:.0f} new ones a second, "
        f"watch one run live on the Train page of one server, on {found['cores']} cores, for "
        f"{found['seconds']:.0f} s (`python -m benchmarks.load --write`):\n\n"
        "| | median | 95th percentile |\n|---|---|---|\n"
        f"| loading the page | {loads['median']:.2f} s | {loads['p95']:.2f} s |\n"
        f"| refreshing a part of it ({found['refreshes_per_second']:.0f} a second) | "
        f"{1e3 * refreshes['median']:.0f} ms | {1e3 * refreshes['p95']:.0f} ms |\n\n"
        f"The run took {pace['before']:.1f} steps per second before, {pace['watched']:.1f} while "
        f"it was viewed, and {pace['after']:.1f} afterwards: "
        f"{100 * found['slowdown']:.0f} % slower. Failed responses: {len(found['failures'])}; rows "
        "of the run lost or doubled: none.\n"
    )


def main() -> int:
    """Measure, print, and write the document if requested."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = measure(options.sessions, options.seconds)
    print(json.dumps(found, indent=2))
    if options.write:
        write_table("reliability.md", "load", _message(found).rstrip("\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
