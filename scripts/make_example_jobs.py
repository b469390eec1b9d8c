"""Write the shipped job results: a calibration, and a measurement of each method.

`python scripts/make_example_jobs.py`; the seconds in the measurements are this machine's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from asi_core.methods import METHOD_ADAPTER, METHODS, PUBLISHED  # noqa: E402
from asi_core.runs.exchange.example_jobs import write_example_job  # noqa: E402
from asi_core.runs.job_kinds import job_kind  # noqa: E402
from asi_core.training.features import installed_pool  # noqa: E402
from asi_core.training.spec import RunSpec  # noqa: E402

FOLDER = ROOT / "data" / "examples" / "jobs"
# The initial settings of the Train page.
SETTINGS = {"explained_variance": 0.8, "patch": 2}


def make(folder: Path) -> list[Path]:
    """Compute the results for the default specification and write them."""
    pool = installed_pool()
    plain = default_spec("vanilla")
    questions = [("calibrate", "calibration", plain)]
    questions += [("measure", f"measurement-{kind}", default_spec(kind)) for kind in PUBLISHED]
    return [
        write_example_job(folder, name, kind, spec, job_kind(kind).answer(spec, pool))
        for kind, name, spec in questions
    ]


def default_spec(kind: str) -> RunSpec:
    """The specification of a method in the app's default comparison."""
    settings = {k: v for k, v in SETTINGS.items() if k in METHODS[kind].model_fields}
    return RunSpec(method=METHOD_ADAPTER.validate_python({"kind": kind, **settings}))


def main() -> None:
    """Write to `data/examples/jobs/` and print the size."""
    torch.set_num_threads(os.cpu_count() or 1)
    for path in make(FOLDER):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
