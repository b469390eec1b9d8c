"""Write docs/factor_updates.md from the study's runs in the store.

    python -m studies.updates.report

Nothing is trained here: every accuracy comes from runs whose ids are beside it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from asi_core.errors import InvalidInput
from asi_core.runs.records import RunRecord
from asi_core.runs.store.library import RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.units import format_bytes
from studies.updates.run import BATCH, DEPTH, LENGTHS, NAME, RATIO, ROWS, UPDATES, cases

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "factor_updates.md"
# The update with which the others are compared, and the most points that one may cost to become
# the default.
_USUAL, _MOST_LOST = "every step", 0.3

Cell = tuple[str, int, str]


def found_runs(url: str) -> dict[Cell, list[RunRecord]]:
    """The completed runs of each network, length and row, one for each seed that all rows have.

    Of several comparisons with one name the newest complete one counts.
    """
    store, library = RunStore(url), RunLibrary(url)
    names = {comparison: d.name for comparison, d in library.descriptions().items()}
    library.close()
    newest: dict[str, list[RunRecord]] = {}
    for comparison, name in names.items():
        runs = store.comparison(comparison) if name.startswith(f"{NAME}:") else []
        if not runs or any(run.status != "completed" for run in runs):
            continue
        if name not in newest or runs[0].created_at > newest[name][0].created_at:
            newest[name] = runs
    found: dict[Cell, list[RunRecord]] = {}
    for case in cases("any images"):
        for steps in LENGTHS:
            for name in sorted(newest):
                if name.startswith(case.name(steps, 0).removesuffix("0")):
                    for row, run in zip(ROWS, newest[name], strict=True):
                        found.setdefault((case.title, steps, row), []).append(run)
    return found


def document(found: Mapping[Cell, Sequence[RunRecord]]) -> str:
    """The content of docs/factor_updates.md.

    Raises:
        InvalidInput: if there are no runs.
    """
    if not found:
        raise InvalidInput(
            "the store must have runs of the study", "none", "run studies.updates.run first"
        )
    seeds = min(len(runs) for runs in found.values())
    runs = sum(len(runs) for runs in found.values())
    return f"""# How often factors are updated

What reading each input once costs in accuracy. The last {DEPTH} layers are trained with batches of
{BATCH} and the published recipe, for two lengths of run and {seeds} seeds ({runs} runs). All ASI
rows keep the same bytes: their ranks are planned for a fiftieth (1/{RATIO}) of what vanilla keeps
by formula, in 8 bits. "As published" iterates every mode on the full tensor, "every step" one mode
after the other; "one step late" and "when needed" read the input once
([decision 0115](decisions/0115-factor-updates.md)).

Accuracies are of the test images, in %, mean and sample standard deviation over the seeds, beside
the mean difference from "every step" with the same seed. The runs are made by
`python -m studies.updates.run`, and this page by `python -m studies.updates.report` from the store.

{_verdicts(found)}

{_table(found)}
"""


def _verdicts(found: Mapping[Cell, Sequence[RunRecord]]) -> str:
    """A sentence for each update: whether it costs more than a default may."""
    lines = []
    for row in UPDATES:
        gaps = {
            (case, steps): fmean(_gaps(found, case, steps, row))
            for case, steps, name in found
            if name == row
        }
        if row == _USUAL or not gaps:
            continue
        mean, (worst, gap) = fmean(gaps.values()), min(gaps.items(), key=lambda item: item[1])
        verdict = "within" if -mean <= _MOST_LOST else "more than"
        lines.append(
            f"- **{row}**: {mean:+.2f} points in the mean of all networks and lengths ({verdict} "
            f"the {_MOST_LOST} points that a default may cost); at worst {gap:+.2f} "
            f"({worst[0]}, {worst[1]} steps)."
        )
    return "\n".join(lines)


def _table(found: Mapping[Cell, Sequence[RunRecord]]) -> str:
    lines = ["| | steps | update | accuracy | against every step | kept | runs |"]
    lines += ["| --- | --: | --- | --: | --: | --: | --- |"]
    for (case, steps, row), runs in found.items():
        kept = fmean((run.summary or {})["activation_bytes"] for run in runs)
        cells = (
            *(case, f"{steps}", row, _spread(_accuracies(runs))),
            _spread(_gaps(found, case, steps, row), "+.2f"),
            format_bytes(kept),
            ", ".join(f"`{run.id}`" for run in runs),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _gaps(
    found: Mapping[Cell, Sequence[RunRecord]], case: str, steps: int, row: str
) -> list[float]:
    """Points of accuracy above the usual update with the same seed."""
    usual = {run.spec.seed: run for run in found[case, steps, _USUAL]}
    own = found[case, steps, row]
    pairs = zip(_accuracies(own), _accuracies([usual[r.spec.seed] for r in own]), strict=True)
    return [accuracy - before for accuracy, before in pairs]


def _accuracies(runs: Sequence[RunRecord]) -> list[float]:
    return [100 * (run.summary or {})["test_accuracy"] for run in runs]


def _spread(values: Sequence[float], form: str = ".2f") -> str:
    deviation = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):{form}}{deviation}"


def main(arguments: Sequence[str] | None = None, target: Path = TARGET) -> int:
    """Write the document."""
    argparse.ArgumentParser(description="Write docs/factor_updates.md.").parse_args(arguments)
    target.write_text(document(found_runs(read_settings().database_url)), encoding="utf-8")
    print(target.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
