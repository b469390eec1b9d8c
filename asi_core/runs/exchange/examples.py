"""Real runs shipped with the app, so that pages have real data at the first start.

One file is one comparison. Steps and evaluations are written as columns, and numbers with few
digits, which takes a tenth of the store's bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asi_core.runs.records import EXAMPLE_OWNER, RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import DATA
from asi_core.training.spec import RunSpec

SHIPPED_FOLDER = DATA / "examples"
_PREFIX = "example-"
_SUFFIX = ".json.gz"
_COLUMNS = ("step", "evaluation")
_ROWS = ("prepared", "probe", "timeline")
_DIGITS = {"prepared": 6, "step": 5, "evaluation": 5, "probe": 4, "timeline": 6}


def write_example(
    store: RunStore, comparison: Sequence[RunRecord], path: Path, *, step_every: int = 1
) -> None:
    """Write ended runs and their events to `path`, as one comparison in this order.

    Equal runs give equal bytes.

    Args:
        comparison: runs of this store; they need not have been launched together.
        path: `<name>.json.gz`; the runs become `example-<name>-0`, `-1` and so on.
        step_every: write every so many steps, and the first and the last; the summaries are of all
            steps.
    """
    written = [_run_as_json(store, run, step_every) for run in comparison]
    text = json.dumps({"runs": written}, separators=(",", ":"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def import_examples(store: RunStore, folder: Path) -> list[str]:
    """Import the comparisons in `folder`, replacing older editions.

    Returns:
        names of the comparisons that were written; empty at a second call.
    """
    return [
        example_comparison(path)
        for path in _files(folder)
        if _import(store, path, example_comparison(path))
    ]


def example_names(folder: Path) -> list[str]:
    """Names in the store of the comparisons in `folder`."""
    return [example_comparison(path) for path in _files(folder)]


def example_comparison(path: Path) -> str:
    """Name in the store of the comparison in a file."""
    return _PREFIX + path.name.removesuffix(_SUFFIX)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_SUFFIX}"))


def _import(store: RunStore, path: Path, comparison: str) -> bool:
    content = path.read_bytes()
    edition = hashlib.sha256(content).hexdigest()[:32]
    # Usually returns here, without decompressing the file.
    if store.finished.editions([comparison]).get(comparison) == edition:
        return False
    written = json.loads(gzip.decompress(content))["runs"]
    records = [_record(run, comparison, position) for position, run in enumerate(written)]
    happened = {
        record.id: _events_from_json(run["events"])
        for record, run in zip(records, written, strict=True)
    }
    return store.finished.add(records, happened, edition)


def _run_as_json(store: RunStore, run: RunRecord, step_every: int) -> dict[str, Any]:
    return {
        "spec": run.spec.model_dump(mode="json"),
        "status": run.status,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "summary": run.summary,
        "error": run.error,
        "events": {
            **{
                kind: _as_columns(_thinned(_payloads(store, run, kind), kind, step_every))
                for kind in _COLUMNS
            },
            **{kind: _payloads(store, run, kind) for kind in _ROWS},
        },
    }


def _record(written: dict[str, Any], comparison: str, position: int) -> RunRecord:
    facts = {name: written[name] for name in written if name not in ("spec", "events")}
    return RunRecord(
        id=f"{comparison}-{position}",
        comparison=comparison,
        position=position,
        owner=EXAMPLE_OWNER,
        spec=RunSpec.model_validate(written["spec"]),
        heartbeat_at=None,
        attempt=1,
        cancel_requested=False,
        **facts,
    )


def _payloads(store: RunStore, run: RunRecord, kind: str) -> list[Any]:
    return [
        _shortened(event.model_dump(mode="json", exclude_none=True), _DIGITS[kind])
        for event in store.events(run.id, kind)
    ]


def _thinned(payloads: list[Any], kind: str, step_every: int) -> list[Any]:
    """For steps, the first, the last, and the multiples of `step_every`; other kinds unchanged."""
    if kind != "step" or not payloads:
        return payloads
    ends = {payloads[0]["step"], payloads[-1]["step"]}
    return [p for p in payloads if p["step"] in ends or p["step"] % step_every == 0]


def _events_from_json(written: dict[str, Any]) -> list[dict[str, Any]]:
    columns = [row for kind in _COLUMNS for row in _as_rows(written[kind])]
    return [row for kind in _ROWS for row in written.get(kind, ())] + columns


def _as_columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def _as_rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _shortened(value: Any, digits: int) -> Any:
    """`value` with all floats rounded to `digits` significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {name: _shortened(part, digits) for name, part in value.items()}
    if isinstance(value, list):
        return [_shortened(part, digits) for part in value]
    return value
