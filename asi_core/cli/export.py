"""`export` and `import`: write comparisons to files, and read those of other installations."""

from __future__ import annotations

import argparse
from pathlib import Path

from asi_core.cli.options import Commands
from asi_core.errors import InvalidInput


def add_parser(commands: Commands) -> None:
    """Register both commands."""
    writing = commands.add_parser("export", help="write a comparison's runs to a file")
    writing.add_argument("comparison", help="its name, from the page's link or from `sweep`")
    writing.add_argument("--out", type=Path, metavar="FILE", help="asi-runs-<comparison>.zip")
    writing.add_argument(
        "--tensorboard",
        type=Path,
        metavar="FOLDER",
        help="write TensorBoard's event files into this folder instead",
    )
    writing.set_defaults(run=run_export)
    reading = commands.add_parser("import", help="add the runs of an exported file")
    reading.add_argument("file", type=Path)
    reading.set_defaults(run=run_import)


def run_export(options: argparse.Namespace) -> int:
    """Write the file and print its path; or write event files and print their folders."""
    if options.tensorboard is not None:
        return _export_event_files(options)
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
            "--out must be a writable file", path, error.strerror or str(error)
        ) from error
    print(path)
    return 0


def _export_event_files(options: argparse.Namespace) -> int:
    from asi_core.cli.stores import opened
    from asi_core.runs.exchange.event_files import write_event_files
    from asi_core.runs.store.run_store import RunStore

    if options.out is not None:
        raise InvalidInput("--out and --tensorboard exclude each other", options.out, "drop one")
    for place in write_event_files(opened(RunStore), options.comparison, options.tensorboard):
        print(place)
    return 0


def run_import(options: argparse.Namespace) -> int:
    """Add the runs to the store and print the name of their comparison."""
    from asi_core.cli.stores import opened
    from asi_core.runs.exchange.transfer import import_comparison
    from asi_core.runs.store.library import RunLibrary
    from asi_core.runs.store.run_store import RunStore

    store, library = opened(RunStore), opened(RunLibrary)
    try:
        with options.file.open("rb") as content:
            runs = import_comparison(store, library, content, "command line")
    except OSError as error:
        rule = "the file must be readable"
        raise InvalidInput(rule, options.file, error.strerror or str(error)) from error
    print(f"comparison {runs[0].comparison}: {len(runs)} runs")
    return 0
