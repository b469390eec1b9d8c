"""Stored runs as pandas data frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from asi_core.errors import InvalidInput
from asi_core.runs.records import RunRecord
from asi_core.runs.store.database import STORE_ERRORS, silence_of
from asi_core.runs.store.library import Description, RunFilter, RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings

if TYPE_CHECKING:
    import pandas as pd

Store = TypeVar("Store", RunStore, RunLibrary)

_ALL = 2**31 - 1
_TIMES = ("created_at", "started_at", "finished_at")


def dataframe(comparison: str | None = None, *, home: Path | str | None = None) -> pd.DataFrame:
    """All stored runs, or those of a comparison: one row each, the newest first.

    Columns are facts of the run (`status`, `comparison`, its `name`), the fields of its
    specification (`model`, `method.kind`, `method.explained_variance`), and of its summary
    (`test_accuracy`, `activation_bytes`, `seconds.step_median`), where they are known. Bytes and
    seconds are in these units, accuracies from 0 to 1. The index is the id of the run.

    Args:
        comparison: an id, as in the page's address.
        home: folder of the app; by default the store that the settings name (`ASI_HOME`,
            `ASI_DATABASE_URL`).

    Raises:
        Unavailable: if the store cannot be opened.

    Example:
        >>> asi_core.runs.dataframe().groupby("method.kind")["test_accuracy"].agg(["mean", "std"])
    """
    import pandas as pd

    chosen = RunFilter() if comparison is None else RunFilter(comparison=(comparison,))
    library = _opened(RunLibrary, home)
    try:
        names, runs = library.descriptions(), library.runs(chosen, limit=_ALL)
    finally:
        library.close()
    rows = [_row(run, names.get(run.comparison, Description()).name) for run in runs]
    frame = pd.json_normalize(rows)
    if frame.empty:
        return frame
    for name in _TIMES:
        frame[name] = pd.to_datetime(frame[name], unit="s", utc=True)
    return frame.set_index("run_id")


def history(run_id: str, *, home: Path | str | None = None) -> pd.DataFrame:
    """The curves of a stored run: one row per step, by step.

    Columns are the fields of `StepEvent`, and `test_accuracy`, `test_loss` and
    `test_balanced_accuracy` at the steps that were evaluated.

    Args:
        run_id: the id of the run.
        home: as in `dataframe`.

    Raises:
        InvalidInput: if there is no such run.
        Unavailable: if the store cannot be opened.

    Example:
        >>> asi_core.runs.history("3f9a0c1b7d2e")[["loss", "test_accuracy"]].plot()
    """
    import pandas as pd

    store = _opened(RunStore, home)
    try:
        if store.run(run_id) is None:
            raise InvalidInput("the run must be in the store", repr(run_id), "choose another")
        steps, tests = (
            pd.DataFrame(
                [event.model_dump(exclude={"kind"}) for event in store.events(run_id, kind)]
            )
            for kind in ("step", "evaluation")
        )
    finally:
        store.close()
    if steps.empty or tests.empty:
        return steps if steps.empty else steps.set_index("step")
    return steps.set_index("step").join(tests.set_index("step").add_prefix("test_"))


def _row(run: RunRecord, name: str) -> dict[str, Any]:
    facts = ("comparison", "owner", "status", *_TIMES, "error", "begins_from")
    return {
        "run_id": run.id,
        "name": name,
        **{fact: getattr(run, fact) for fact in facts},
        **run.spec.model_dump(mode="json"),
        **(run.summary or {}),
    }


def _opened(kind: type[Store], home: Path | str | None) -> Store:
    settings = read_settings() if home is None else read_settings({"ASI_HOME": str(home)})
    try:
        return kind(settings.database_url)
    except STORE_ERRORS as error:
        raise silence_of(error) from error
