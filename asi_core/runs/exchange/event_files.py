"""Writing stored runs as TensorBoard's event files."""

from __future__ import annotations

from pathlib import Path

from asi_core.errors import InvalidInput
from asi_core.runs.engine.event_files import EventFiles
from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore


def write_event_files(store: RunStore, comparison: str, folder: Path) -> list[Path]:
    """Write the event files of a comparison's runs, each in a folder of its own.

    Args:
        folder: for `tensorboard --logdir`; files of the same runs are replaced.

    Returns:
        the folders of the runs, in their order.

    Raises:
        InvalidInput: if the comparison does not exist, or `folder` is not writable.
        Unavailable: if TensorBoard is not installed.

    Example:
        >>> store = RunStore(read_settings().database_url)
        >>> write_event_files(store, "3f9a0c1b7d2e", Path("tb"))
    """
    runs = store.comparison(comparison)
    if not runs:
        raise InvalidInput("the comparison must exist", repr(comparison), "choose another")
    try:
        return [_written(store, run, folder) for run in runs]
    except OSError as error:
        raise InvalidInput(
            "the folder of event files must be writable", folder, error.strerror or str(error)
        ) from error


def _written(store: RunStore, run: RunRecord, folder: Path) -> Path:
    files = EventFiles.of_run(folder, run)
    for event in store.all_events(run.id):
        files.on_event(event)
    files.on_end(run.status, run.summary)
    return files.place
