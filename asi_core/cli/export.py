"""`export` and `import`: comparisons as files, from one installation to another."""

from __future__ import annotations

import argparse
from pathlib import Path

from asi_core.cli.options import Commands
from asi_core.errors import InvalidInput


def add_parser(commands: Commands) -> None:
    """Register both commands."""
    writing = commands.add_parser("export", help="write a comparison's runs to a file")
    writing.add_argument("comparison", help="as the page's link and `sweep` name it")
    writing.add_argument("--out", type=Path, metavar="FILE", help="asi-runs-<comparison>.zip")
    writing.set_defaults(run=run_export)
    reading = commands.add_parser("import", help="keep the runs of a file of `export`")
    reading.add_argument("file", type=Path)
    reading.set_defaults(run=run_import)


def run_export(options: argparse.Namespace) -> int:
    """Write the file and print its name."""
    from asi_core.cli.stores import opened
    from asi_core.runs.exchange.transfer import export_comparison
    from asi_core.runs.store.library import RunLibrary
    from asi_core.runs.store.run_store import RunStore

    content = export_comparison(opened(RunStore), opened(RunLibrary), options.comparison)
    path = options.out or Path(f"asi-runs-{options.comparison}.zip")
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InvalidInput(
            "--out must be a file that can be written", path, error.strerror or str(error)
        ) from error
    print(path)
    return 0


def run_import(options: argparse.Namespace) -> int:
    """Keep the runs and print the name of their comparison."""
    from asi_core.cli.stores import opened
    from asi_core.runs.exchange.transfer import import_comparison
    from asi_core.runs.store.library import RunLibrary
    from asi_core.runs.store.run_store import RunStore

    store, library = opened(RunStore), opened(RunLibrary)
    try:
        with options.file.open("rb") as content:
            runs = import_comparison(store, library, content, "command line")
    except OSError as error:
        rule = "the file must be one that can be read"
        raise InvalidInput(rule, options.file, error.strerror or str(error)) from error
    print(f"comparison {runs[0].comparison}: {len(runs)} runs")
    return 0
