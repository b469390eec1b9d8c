"""The fault suite, and its table in the documentation.

    python -m tests.faults.report
    python -m tests.faults.report --again

It takes an hour: `--again` runs what failed last time, and keeps the rows of what passed.
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
# Beside pytest's own notes of what failed.
_ROWS = ROOT / ".pytest_cache" / "faults.jsonl"
_SCALE = {
    "FAULT_KILLS": "20",
    "FUZZ_SPECS": "10000",
    "FUZZ_UPLOADS": "500",
    "FUZZ_EXECUTED": "40",
}


def main() -> int:
    again = "--again" in sys.argv[1:]
    if not again:
        _ROWS.unlink(missing_ok=True)
    _ROWS.parent.mkdir(exist_ok=True)
    suites = ["tests/faults", "tests/runs/test_fuzz.py"]
    # Without the suite's own choice of markers: all of both.
    command = [sys.executable, "-m", "pytest", "-q", "-m", "faults or not faults", *suites]
    command += ["--last-failed", "--last-failed-no-failures", "none"] if again else []
    own = {"FAULT_ROWS_FILE": str(_ROWS), **_SCALE}
    code = subprocess.run(command, env={**os.environ, **own}, check=False, cwd=ROOT).returncode
    if code not in (0, 5 if again else 0):
        print("The fault suite failed: the table stays as it is.", file=sys.stderr)
        return code
    told = [json.loads(line) for line in _ROWS.read_text().splitlines()]
    before, rest = DOCUMENT.read_text().split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table(told)}{END}{after}")
    return 0


def _commit() -> str:
    asked = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(
        asked, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def table(rows: list[list[str]]) -> str:
    """Rows (fault, store, outcome) as Markdown; what is the same in both stores is told once."""
    outcomes: dict[tuple[str, str], list[str]] = {}
    for fault, store, outcome in rows:
        outcomes.setdefault((fault, outcome), []).append(store)
    lines = [
        f"Written by `make faults` on {date.today().isoformat()}, at commit {_commit()}.\n",
        "| fault | store | every run then |",
        "|---|---|---|",
    ]
    for (fault, outcome), stores in outcomes.items():
        lines.append(f"| {fault} | {', '.join(stores)} | {outcome} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
