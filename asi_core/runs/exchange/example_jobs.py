"""Results of jobs shipped with the app, so that pages have real data at the first start."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from asi_core.runs.job_kinds import job_kind
from asi_core.runs.store.job_store import JobStore
from asi_core.training.spec import RunSpec

_SUFFIX = ".json.gz"


def write_example_job(
    folder: Path, name: str, kind: str, spec: RunSpec, result: dict[str, Any]
) -> Path:
    """Write a result to `folder/name.json.gz`; equal results give equal bytes."""
    return _write(folder, name, _job(kind, spec, result))


def write_example_jobs(
    folder: Path, name: str, kind: str, results: Iterable[tuple[RunSpec, dict[str, Any]]]
) -> Path:
    """Write many results of one kind to one file, as `write_example_job`."""
    return _write(folder, name, [_job(kind, spec, result) for spec, result in results])


def _job(kind: str, spec: RunSpec, result: dict[str, Any]) -> dict[str, Any]:
    settled = job_kind(kind).settled(spec).model_dump(mode="json")
    return {"kind": kind, "spec": settled, "result": result}


def _write(folder: Path, name: str, written: Any) -> Path:
    text = json.dumps(written, separators=(",", ":"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{_SUFFIX}"
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path


def import_example_jobs(jobs: JobStore, folder: Path) -> None:
    """Import the results in `folder`, replacing older editions."""
    examples = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        written = json.loads(gzip.decompress(path.read_bytes()))
        for job in written if isinstance(written, list) else [written]:
            examples.append((job["kind"], RunSpec.model_validate(job["spec"]), job["result"]))
    jobs.keep_examples(examples)
