"""Keeping runs of networks of one's own in the store, where Compare and Spectra show them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from asi_core.errors import AsiError, InvalidInput, Unavailable, one_sentence
from asi_core.runs.engine.listeners import Listeners
from asi_core.runs.engine.reporter import Reporter
from asi_core.runs.records import NOBODY, RunRecord
from asi_core.runs.store.checkpoint_files import checkpoint_path
from asi_core.runs.store.database import STORE_ERRORS, AttemptLost, silence_of
from asi_core.runs.store.library import LONGEST_NAME, Description, RunLibrary
from asi_core.runs.store.run_log import lines_of_this_context
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.store.worker_id import WorkerId
from asi_core.runs.validity.specs import check_spec
from asi_core.settings import read_settings
from asi_core.training.events import Event
from asi_core.training.fine_tuning import FineTuning
from asi_core.training.own_network import own_name

# As runs of the command line: whoever may use the store may name and delete them.
_OWNER = NOBODY[1]


def keep_run(
    training: Iterable[Event],
    *,
    network: str,
    data: str,
    comparison: str | None = None,
    each: Callable[[Event], object] = lambda event: None,
    home: Path | str | None = None,
) -> RunRecord:
    """Train a network of one's own to the end, and keep the run in the store of the app.

    It is written as it proceeds, so that pages show it live. An error is stored with the run and
    raised again; Ctrl+C, and Cancel on the Train page, end the run as cancelled.

    Args:
        training: what `fine_tune` returned for a module and test batches; not yet begun.
        network: what the network is called on pages.
        data: what the data are called; other data need another name.
        comparison: a name; runs that are kept under the same one are listed and drawn together,
            such as several methods. None for a comparison of this run alone.
        each: called with each event, for example `print`.
        home: folder of the app; by default the store that the settings name (`ASI_HOME`,
            `ASI_DATABASE_URL`).

    Returns:
        The run as it is stored; `summary` has its accuracy, bytes and times.

    Raises:
        InvalidInput: if `training` is anything else, has begun, or has no test batches, or a name
            is too long.
        Refused: if the installation is read-only.
        Unavailable: if the store cannot be used, or the run was deleted or declared lost.
        Exception: whatever the training raises.

    Example:
        >>> for method in ("vanilla", "asi"):
        ...     config = Compression(method, layers=4, also_trained=["fc"])
        ...     training = fine_tune(make_model(), loader, config, test=test_loader)
        ...     keep_run(training, network="my net", data="my photos", comparison="first try")
    """
    training = _keepable(training)
    names = {"model": own_name(network), "dataset": own_name(data)}
    spec = training.spec.model_copy(update=names)
    check_spec(spec)
    settings = read_settings() if home is None else read_settings({"ASI_HOME": str(home)})
    settings.check_may_change()
    place = None if comparison is None else _comparison_id(comparison)
    try:
        store, library = RunStore(settings.database_url), RunLibrary(settings.database_url)
        run, token = store.begin(spec, _OWNER, str(WorkerId.here()), place)
        if comparison is not None:
            library.describe(run.comparison, Description(comparison))
    except STORE_ERRORS as error:
        raise silence_of(error) from error
    reporter = Reporter(
        *(store, run.id, token, checkpoint_path(settings.checkpoints_dir, run.id)),
        listeners=Listeners(run),
    )
    try:
        with reporter, lines_of_this_context(reporter.add_line):
            _train(training, store, run, reporter, each)
    except AttemptLost:
        raise Unavailable(
            f"run {run.id} is not kept any further: it was deleted, or ended from elsewhere."
        ) from None
    ended = store.run(run.id)
    assert ended is not None, "it has just ended"
    store.close()
    library.close()
    return ended


def _train(
    training: FineTuning,
    store: RunStore,
    run: RunRecord,
    reporter: Reporter,
    each: Callable[[Event], object],
) -> None:
    """Train to the end, write everything, and end the attempt."""
    try:
        for event in training:
            reporter.add(event)
            each(event)
            if store.cancel_requested(run.id):
                break
    except AttemptLost:
        raise
    except Exception as error:
        kind = "" if isinstance(error, AsiError) else f"{type(error).__name__}: "
        reporter.end("failed", f"{kind}{one_sentence(error)}")
        raise
    except BaseException:
        # Ctrl+C, or the program is about to end.
        reporter.end("cancelled", None)
        raise
    reporter.end("completed" if reporter.reached(run.spec.steps) else "cancelled", None)


def _keepable(training: Iterable[Event]) -> FineTuning:
    way_out = "pass what fine_tune(model, batches, config, test=...) returned"
    if not isinstance(training, FineTuning):
        found = type(training).__name__
        raise InvalidInput("keep_run takes the training of a module", found, way_out)
    if training.has_begun:
        found = "one that has begun"
        raise InvalidInput("keep_run takes a training from its first event on", found, way_out)
    if not training.has_test:
        raise InvalidInput(
            "a kept run needs test batches, as runs are compared by their accuracy",
            "none",
            way_out,
        )
    return training


def _comparison_id(name: str) -> str:
    text = name.strip()
    if not 0 < len(text) <= LONGEST_NAME:
        raise InvalidInput(
            f"a comparison's name must have 1 to {LONGEST_NAME} characters",
            repr(name[: 2 * LONGEST_NAME]),
            "choose another",
        )
    return hashlib.sha256(f"kept/{text}".encode()).hexdigest()[:12]
