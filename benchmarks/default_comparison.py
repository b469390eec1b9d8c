"""Duration of the Train page's default comparison, with and without kept features.

    python benchmarks/default_comparison.py

Runs it three times by the app's engine, each in a separate process: without kept features, cold
(with an empty folder of features) and warm (with the folder that the cold one filled). Prints JSON:
seconds from the button to the end of the last run, seconds until the worker is ready, which the app
starts when the page is opened, and the largest difference between the curves of the first and the
others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

METHODS = (
    {"kind": "vanilla"},
    {"kind": "asi", "explained_variance": 0.8},
    {"kind": "hosvd", "explained_variance": 0.8},
    {"kind": "gradient_filter"},
)
_NOTHING_KEPT = {"ASI_FEATURE_DISK_BYTES": "0", "ASI_FEATURE_BYTES": "0"}


def compare_once(changes: Mapping[str, Any]) -> dict[str, Any]:
    """One comparison in this process's home: seconds, and each run's losses and accuracies.

    Args:
        changes: fields of the specification that differ from the Train page's, if it is shortened.
    """
    from asi_core.methods import Vanilla
    from asi_core.runs.engine.engine import RunEngine
    from asi_core.runs.records import RunRecord
    from asi_core.runs.store.run_store import RunStore
    from asi_core.runs.submit.service import request_runs
    from asi_core.settings import read_settings
    from asi_core.training.spec import RunSpec

    settings = read_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    store = RunStore(settings.database_url)
    given = [{"method": Vanilla(), "layers": 0}, *({"method": method} for method in METHODS)]
    specs = [RunSpec.model_validate({**changes, **one}) for one in given]

    def to_the_end(specs: list[RunSpec]) -> tuple[list[RunRecord], float]:
        clicked = time.perf_counter()
        runs = request_runs(store, specs, "benchmark")
        for run in sorted(runs, key=lambda run: run.spec.layers == 0):
            engine.submit(run.id)
        while any(run.is_active for run in store.comparison(runs[0].comparison)):
            time.sleep(0.1)
        return store.comparison(runs[0].comparison), time.perf_counter() - clicked

    opened = time.perf_counter()
    engine = RunEngine(settings)
    # With a different image size, so that the comparison can reuse nothing of it.
    to_the_end([RunSpec(method=Vanilla(), steps=1, image_size=32, batch_size=8)])
    ready = time.perf_counter() - opened
    runs, seconds = to_the_end(specs)
    curves, accuracies_of, devices = {}, {}, set()
    for run in runs:
        if run.status != "completed":
            raise SystemExit(f"{run.spec.method.kind}: {run.status} ({run.error})")
        steps = [event.loss for event in store.events(run.id, "step")]
        accuracies = [event.accuracy for event in store.events(run.id, "evaluation")]
        name = f"{run.spec.method.kind}, {run.spec.layers} layers"
        curves[name], accuracies_of[name] = steps + accuracies, accuracies[-1]
        devices |= {event.device for event in store.events(run.id, "prepared")}
    engine.close()
    return {
        "ready_seconds": ready,
        "seconds": seconds,
        "curves": curves,
        "accuracies": accuracies_of,
        "devices": sorted(devices),
    }


def once(
    home: Path, changes: Mapping[str, Any] = MappingProxyType({}), **settings: str
) -> dict[str, Any]:
    """Run `compare_once` in a new process."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ASI_")}
    ended = subprocess.run(
        [sys.executable, __file__, "--once", json.dumps(dict(changes))],
        env={**environment, "ASI_HOME": str(home), **settings},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def largest_difference(first: dict[str, list[float]], second: dict[str, list[float]]) -> float:
    """The largest difference of losses and accuracies over all steps."""
    pairs = [zip(first[name], second[name], strict=True) for name in first]
    return max(abs(a - b) for pair in pairs for a, b in pair)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        features = str(root / "features")
        runs = {
            "without": once(root / "without", **_NOTHING_KEPT),
            "cold": once(root / "cold", ASI_FEATURES_DIR=features),
            "warm": once(root / "warm", ASI_FEATURES_DIR=features),
        }
    seconds = {name: run["seconds"] for name, run in runs.items()}
    print(
        json.dumps(
            {
                "seconds": seconds,
                "ready_seconds": {name: run["ready_seconds"] for name, run in runs.items()},
                "without_over_cold": seconds["without"] / seconds["cold"],
                "without_over_warm": seconds["without"] / seconds["warm"],
                "largest_difference": {
                    name: largest_difference(runs["without"]["curves"], runs[name]["curves"])
                    for name in ("cold", "warm")
                },
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    if "--once" in sys.argv[1:]:
        print(json.dumps(compare_once(json.loads(sys.argv[2]))))
    else:
        main()
