"""Write data/examples/jobs/lesson-*.json.gz: what steps need, as the lessons show it.

    python scripts/make_lesson_examples.py

All by formula, from shapes alone. Run it again after a change of what a training step allocates;
it takes some minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from asi_core.runs.exchange.example_jobs import write_example_jobs  # noqa: E402
from asi_core.runs.job_kinds import job_kind  # noqa: E402
from asi_core.training.features import installed_pool  # noqa: E402
from dashboard.learn.shipped import NEEDS, TIMELINES  # noqa: E402

FOLDER = ROOT / "data" / "examples" / "jobs"


def main() -> None:
    """Write the files, and print their sizes."""
    for name, kind, specs in (
        ("lesson-steps", "timeline_formula", TIMELINES.values()),
        ("lesson-needs", "need", NEEDS),
    ):
        results = [(spec, job_kind(kind).answer(spec, installed_pool())) for spec in specs]
        path = write_example_jobs(FOLDER, name, kind, results)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.1f} KiB", flush=True)


if __name__ == "__main__":
    main()
