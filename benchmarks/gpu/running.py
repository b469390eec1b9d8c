"""Running the parts one after the other, each in a process of its own.

An error on a device may leave its process without a working device: what it breaks then is one
part, and the rows that were found before stay.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.parts import PARTS, scale_of

ROOT = Path(__file__).resolve().parents[2]
_MESSAGE = 300


def run_parts(
    device: str, chosen: Iterable[str], tell: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """All rows, for JSON.

    Args:
        chosen: names of parts.
        tell: called with one line per part.
    """
    started, parts = time.perf_counter(), {}
    machine: dict[str, Any] = {}
    for name in chosen:
        parts[name], described = run_one(name, device)
        machine = machine or described
        tell(f"{PARTS[name].title}: {parts[name]['result']}, {parts[name]['seconds']:.0f} s")
    return {
        "device": device,
        "environment": machine,
        "seconds": time.perf_counter() - started,
        "left_out": list(scale_of(torch.device(device)).left_out),
        "passed": all(part["result"] == "passed" for part in parts.values()),
        "parts": parts,
    }


def run_one(name: str, device: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A part's rows with its result, and the description of the machine."""
    started = time.perf_counter()
    # The processor's speed says nothing of a device, and a busy one is no failure.
    limit = None if device.startswith("cpu") else PARTS[name].seconds
    with tempfile.TemporaryDirectory() as home:
        printed, error = _run(name, device, home, limit)
    rows = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    described = [row.pop("environment") for row in rows if "environment" in row]
    rows = [row for row in rows if row]
    failures = [failure for row in rows for failure in row.get("failures", ())]
    found = {
        "title": PARTS[name].title,
        "result": "failed" if failures or error else "passed",
        "error": error,
        "seconds": time.perf_counter() - started,
        "rows": rows,
    }
    return found, described[0] if described else {}


def _run(name: str, device: str, home: str, limit: float | None) -> tuple[str, str | None]:
    """What a part printed, and why it did not come to its end."""
    own = {"ASI_HOME": home, "ASI_DEVICE": device}
    if PARTS[name].exact:
        # With it, products of matrices are the same each time.
        own["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    others = {key: value for key, value in os.environ.items() if not key.startswith("ASI_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gpu", "--device", device, "--part", name],
        cwd=ROOT,
        env={**others, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, said = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        _end(process)
        printed, _ = process.communicate()
        return printed, f"stopped after {limit:.0f} s, its share of the time"
    except BaseException:
        _end(process)
        raise
    if process.returncode == 0:
        return printed, None
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "no message")
    return printed, f"exit status {process.returncode}: {last.strip()[:_MESSAGE]}"


def _end(process: subprocess.Popen[str]) -> None:
    """End a part with the workers that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
