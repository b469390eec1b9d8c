"""Write data/examples/: the comparisons shipped with the app, trained on this machine.

    python scripts/make_examples.py [variance] [ranks] [methods]

Every run is one call of our command line, with a temporary store. All calls share this process, so
that the frozen features are computed once. Seconds are measured too: nothing else should run
meanwhile.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from asi_core.cli import main as command_line  # noqa: E402
from asi_core.runs.exchange.examples import write_example  # noqa: E402
from asi_core.runs.records import RunRecord  # noqa: E402
from asi_core.runs.store.run_store import RunStore  # noqa: E402
from asi_core.settings import read_settings  # noqa: E402
from asi_core.training.spec import RUN_DEFAULTS  # noqa: E402

FOLDER = ROOT / "data" / "examples"
STEPS: int = RUN_DEFAULTS["steps"]
HEAD = "--method vanilla --layers 0"
ALIKE = "--explained-variance 0.8"
# As the shipped runs are, and the lessons that explain them.
ASI = "--method asi --update every_step"

# Seven probes per run where the spectra are the subject, three where accuracy and memory are.
OFTEN, SELDOM = "--probe-every 25", "--probe-every 75"

EXAMPLES: dict[str, list[str]] = {
    "variance": [
        f"{method} --seed {seed} {SELDOM}"
        for method in (
            "--method vanilla",
            *(f"{ASI} --explained-variance {e}" for e in (0.4, 0.6, 0.8, 0.9, 0.95)),
        )
        for seed in (0, 1)
    ],
    "ranks": [f"{ASI} --rank {rank} {SELDOM}" for rank in (1, 2, 4, 8, 16)],
    # The last is the newest, which pages show by default.
    "methods": [
        f"{flags} {OFTEN}"
        for flags in (
            HEAD,
            "--method vanilla",
            f"{ASI} {ALIKE}",
            f"--method hosvd {ALIKE}",
            "--method gradient_filter",
        )
    ],
}


def make(name: str, calls: Iterable[str], folder: Path, steps: int = STEPS) -> Path:
    """Train one comparison and write it to `folder/name.json.gz`."""
    store = RunStore(read_settings().database_url)
    # The linear probe is shown first and trained last: it extends the others' features.
    trained = [_trained(store, call, steps) for call in reversed(list(calls))]
    path = folder / f"{name}.json.gz"
    write_example(store, trained[::-1], path)
    store.close()
    return path


def _trained(store: RunStore, call: str, steps: int) -> RunRecord:
    started, printed = time.perf_counter(), io.StringIO()
    with redirect_stdout(printed):
        code = command_line(["train", *call.split(), "--steps", str(steps), "--json"])
    if code:
        raise SystemExit(f"train {call} ended with code {code}: its comparison is not written.")
    run = store.run(json.loads(printed.getvalue())["run_id"])
    assert run is not None
    print(f"{call}: {time.perf_counter() - started:.0f} s", flush=True)
    return run


def main() -> None:
    names = sys.argv[1:] or list(EXAMPLES)
    if unknown := set(names) - set(EXAMPLES):
        raise SystemExit(f"examples are {', '.join(EXAMPLES)}, got {', '.join(sorted(unknown))}.")
    with tempfile.TemporaryDirectory() as home:
        os.environ["ASI_HOME"] = home
        for name in names:
            path = make(name, EXAMPLES[name], FOLDER)
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KiB", flush=True)


if __name__ == "__main__":
    main()
