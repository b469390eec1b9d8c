"""Requesting longer editions of completed runs, which begin from the checkpoints of their ends."""

from __future__ import annotations

from collections.abc import Sequence

from asi_core.errors import InvalidInput, Unavailable
from asi_core.runs.records import RunRecord
from asi_core.runs.store.checkpoint_files import final_path
from asi_core.runs.store.queueing import FROM_RUN
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.fingerprint import fingerprints_of
from asi_core.runs.submit.service import request_runs
from asi_core.settings import read_settings
from asi_core.training.lengthening import lengthened


def request_longer(
    store: RunStore,
    runs: Sequence[RunRecord],
    steps: int,
    owner: str,
    *,
    network: str | None = None,
) -> list[RunRecord]:
    """Queue runs of `steps` steps that go on where completed ones ended, as a new comparison.

    They have the events of the old ones, which stay as they are, and the numbers of runs that were
    as long from the start. Equal runs that are completed or active are returned instead, as
    `request_runs` does.

    Args:
        network: the network of the request (`networks`), if known.

    Raises:
        InvalidInput: if one is not completed or not shorter, or the longer ones exceed limits.
        Unsupported: if a longer run has other learning rates from the start (`lengthened`).
        Unavailable: if the checkpoint of one is not there, or its images, weights or the code have
            changed since.
        Refused: if the installation is read-only.
    """
    if not runs:
        raise InvalidInput("there must be a run to lengthen", "none", "choose a completed one")
    longer = [lengthened(run.spec, steps) for run in runs]
    begins_from = [beginning_of(store, run).id for run in runs]
    return request_runs(
        store, longer, owner, most=len(runs), network=network, begins_from=begins_from
    )


def beginning_of(store: RunStore, run: RunRecord) -> RunRecord:
    """The run whose checkpoint a longer edition of `run` begins from: itself, or its original.

    Raises:
        InvalidInput, Unavailable: as `request_longer`.
    """
    if run.status != "completed":
        raise InvalidInput(
            "only a completed run can be lengthened", f"one that is {run.status}", "choose another"
        )
    known = store.run((run.summary or {}).get(FROM_RUN, run.id))
    if known is None or not final_path(read_settings().checkpoints_dir, known.id).exists():
        raise Unavailable(
            f"the checkpoint of run {run.id} is not here, as it was removed to save space, or the "
            "run was trained elsewhere: a longer run from the start has the same numbers."
        )
    check_unchanged(store, known)
    return known


def check_unchanged(store: RunStore, run: RunRecord) -> None:
    """Raise `Unavailable` if a run's numbers would be others today, by its fingerprint."""
    if fingerprints_of([run.spec]) != [store.fingerprint(run.id)]:
        raise Unavailable(
            f"the code, the images or the weights of run {run.id} have changed since it was "
            "trained, so its numbers cannot go on: train a longer run from the start."
        )
