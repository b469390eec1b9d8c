"""The fault suite, and its table in the documentation.

    python -m tests.faults.report
    python -m tests.faults.report --again

It takes an hour. After a complete run, `--again` reruns the tests that failed, and keeps the rows
of those that passed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date

from tests.browser.app import ROOT

DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
# Beside pytest's record of failed tests.
_ROWS = ROOT / ".pytest_cache" / "faults.jsonl"
_SCALE = {
    "FAULT_KILLS": "20",
    "FUZZ_SPECS": "10000",
    "FUZZ_UPLOADS": "500",
    "FUZZ_EXECUTED": "40",
    "FUZZ_DRAW_EVERY": "1",
    "FUZZ_LINKS": "3000",
}


def main() -> int:
    again = "--again" in sys.argv[1:]
    if again and not _ROWS.exists():
        print("There is no complete run of the fault suite: omit --again.", file=sys.stderr)
        return 2
    rows = _ROWS if again else _ROWS.with_suffix(".part")
    rows.parent.mkdir(exist_ok=True)
    if not again:
        rows.write_text("")
    # Overrides the default choice of markers.
    command = [sys.executable, "-m", "pytest", "-q", "-m", "faults or fuzz", "tests"]
    command += ["--last-failed", "--last-failed-no-failures", "none"] if again else []
    own = {"FAULT_ROWS_FILE": str(rows), "FAULT_COMMIT": _commit(), **_SCALE}
    code = subprocess.run(command, env={**os.environ, **own}, check=False, cwd=ROOT).returncode
    # An interrupted run is not complete.
    if code in (0, 1):
        rows.replace(_ROWS)
    # 5: no tests were run, as none had failed.
    if code and not (again and code == 5):
        print("The fault suite failed: the table is not changed.", file=sys.stderr)
        return code
    written = [json.loads(line) for line in _ROWS.read_text().splitlines()]
    before, rest = DOCUMENT.read_text().split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table(written)}{END}{after}")
    return 0


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def table(rows: list[list[str]]) -> str:
    """Rows (fault, store, outcome, commit) as Markdown; equal outcomes of stores are one row."""
    outcomes: dict[tuple[str, str], list[str]] = {}
    for fault, store, outcome, _ in rows:
        outcomes.setdefault((fault, outcome), []).append(store)
    commits = ", ".join(sorted({row[-1] for row in rows}))
    lines = [
        f"Written by `make faults` on {date.today().isoformat()}, at commit {commits}.\n",
        "| fault | store | every run then |",
        "|---|---|---|",
    ]
    for (fault, outcome), stores in outcomes.items():
        lines.append(f"| {fault} | {', '.join(stores)} | {outcome} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
