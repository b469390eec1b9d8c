"""Write data/examples/jobs/{timeline,need}-*.json.gz: what steps need, as shipped with the app.

    python scripts/make_step_examples.py

Measured steps are those of the Step page's first view: the default run of ASI, and of vanilla with
plain and with lean layers. Needs, by formula, are those of Explore's first view. Run it again after
a change of what a training step allocates.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from asi_core.methods import ASI, Vanilla  # noqa: E402
from asi_core.runs.exchange.example_jobs import write_example_job  # noqa: E402
from asi_core.training.spec import RunSpec  # noqa: E402

FOLDER = ROOT / "data" / "examples" / "jobs"
STEPS = {
    "timeline-asi": RunSpec(method=ASI.usual()),
    "timeline-vanilla": RunSpec(method=Vanilla(), lean=False),
    "timeline-vanilla-lean": RunSpec(method=Vanilla()),
}
NEEDS = {
    "need-asi": RunSpec(method=ASI.usual()),
    "need-vanilla": RunSpec(method=Vanilla(), pretrained=False),
}


def main() -> None:
    from asi_core.runs.job_kinds import job_kind
    from asi_core.training.features import installed_pool

    jobs = [("timeline", name, spec) for name, spec in STEPS.items()]
    jobs += [("need", name, spec) for name, spec in NEEDS.items()]
    with tempfile.TemporaryDirectory() as home:
        os.environ["ASI_HOME"] = home
        for kind, name, spec in jobs:
            result = job_kind(kind).answer(spec, installed_pool())
            path = write_example_job(FOLDER, name, kind, spec, result)
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.1f} KiB", flush=True)


if __name__ == "__main__":
    main()
