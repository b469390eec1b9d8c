"""Requesting and cancelling runs, with checks before anything is queued."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

from asi_core.datasets import check_dataset
from asi_core.errors import InvalidInput, Refused
from asi_core.methods import METHODS
from asi_core.runs.records import NOBODY, RunRecord
from asi_core.runs.store.queueing import AT_ONCE_SECONDS, FROM_RUN
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.fingerprint import fingerprints_of
from asi_core.runs.submit.limits import check_specs
from asi_core.runs.validity.specs import check_spec
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import model_card
from asi_core.zoo.weights import check_obtainable

# Every method, and the linear probe.
MOST_RUNS_AT_ONCE = len(METHODS) + 1


def request_runs(
    store: RunStore,
    specs: Sequence[RunSpec],
    owner: str,
    *,
    most: int = MOST_RUNS_AT_ONCE,
    again: bool = False,
    network: str | None = None,
    begins_from: Sequence[str] | None = None,
) -> list[RunRecord]:
    """Queue the runs of a comparison, if all of them can start.

    If the same comparison is active, it is returned. Runs that were completed before with the same
    code and images are copied instead of executed again.

    Args:
        most: maximum number of runs.
        again: whether to execute all runs, even if completed or active ones are the same; only a
            repeated click returns the active ones.
        network: the network of the request (`networks`), if known.
        begins_from: ids of the completed runs that these lengthen (`lengthening.request_longer`).

    Raises:
        InvalidInput: if there are no or too many runs, one exceeds the limits, or images are
            invalid or fewer than a batch.
        InvalidRun: if a number of a specification is too large to be drawn.
        Refused: if the installation is read-only.
        Unsupported: if one trains a network of the user's own.
        Unavailable: if weights or images are missing, or images are known to be damaged and not
            skipped; nothing is queued then.
    """
    settings = read_settings()
    settings.check_may_change()
    if not 1 <= len(specs) <= most:
        raise InvalidInput(
            f"a comparison must have 1 to {most} runs",
            len(specs),
            "choose other methods",
        )
    for spec in specs:
        spec.check_can_be_repeated()
    check_specs(specs, settings)
    for spec in specs:
        check_spec(spec)
    for model in {spec.model for spec in specs if spec.pretrained}:
        check_obtainable(model_card(model))
    _check_images(specs)
    fingerprints = fingerprints_of(specs)
    if not again and (going := _already_going(store, specs, fingerprints, owner)) is not None:
        return going
    answers = {} if again else _answers(store, fingerprints)
    if (same := _one_comparison(store, answers, len(specs), owner)) is not None:
        return same
    since = time.time() - AT_ONCE_SECONDS
    is_same = partial(_is_same_request, specs=list(specs), again=again, since=since)
    return store.create(
        *(specs, owner, settings.limits, fingerprints, answers, network, is_same, begins_from)
    )


def _check_images(specs: Sequence[RunSpec]) -> None:
    datasets = {(spec.dataset, spec.skip_damaged) for spec in specs}
    cards = {(name, skip): check_dataset(name, skip) for name, skip in datasets}
    for spec in specs:
        card = cards[spec.dataset, spec.skip_damaged]
        card.check_images(spec.skip_damaged)
        card.check_batch_size(spec.batch_size)


def known_runs(store: RunStore, specs: Sequence[RunSpec]) -> int:
    """The number of runs that need not be executed, as equal ones are completed.

    Raises:
        InvalidInput, Unavailable: if user images cannot be read.
    """
    return len(_answers(store, fingerprints_of(specs)))


def _answers(store: RunStore, fingerprints: Sequence[str]) -> dict[int, RunRecord]:
    found = store.answered(fingerprints)
    return {
        n: found[fingerprint] for n, fingerprint in enumerate(fingerprints) if fingerprint in found
    }


def request_cancel(store: RunStore, runs: Sequence[RunRecord], owner: str | None = None) -> None:
    """Stop runs: queued ones at once, running ones within a step.

    Args:
        owner: the user, who must own the runs; None for no check.

    Raises:
        Refused: if one of them is another user's, or if the installation is read-only.
    """
    read_settings().check_may_change()
    if others := [run for run in runs if owner is not None and run.owner not in (owner, *NOBODY)]:
        raise Refused(
            f"only your own runs can be cancelled, and {len(others)} of these are another "
            "user's: ask the user who launched them."
        )
    for run in runs:
        store.request_cancel(run.id)


def _is_same_request(
    runs: Sequence[RunRecord], *, specs: list[RunSpec], again: bool, since: float
) -> bool:
    """Whether the comparison of another request is the one that this request asks for."""
    if [run.spec for run in runs] != specs:
        return False
    going = [run.is_active and not run.cancel_requested for run in runs]
    if again:
        return all(going) and all(run.created_at >= since for run in runs)
    copied = [FROM_RUN in (run.summary or {}) for run in runs]
    return all(is_going or is_copied for is_going, is_copied in zip(going, copied, strict=True))


def _one_comparison(
    store: RunStore, answers: Mapping[int, RunRecord], count: int, owner: str
) -> list[RunRecord] | None:
    """The owner's comparison that consists of these completed runs, in this order; else None."""
    names = {run.comparison for run in answers.values()}
    if len(answers) != count or len(names) != 1:
        return None
    runs = store.comparison(names.pop())
    is_same = [run.id for run in runs] == [answers[n].id for n in range(count)]
    return runs if is_same and all(run.owner == owner for run in runs) else None


def _already_going(
    store: RunStore, specs: Sequence[RunSpec], fingerprints: Sequence[str], owner: str
) -> list[RunRecord] | None:
    """The owner's comparison of exactly these runs, if all are active or copied: a second click."""
    for name in store.going(owner, fingerprints):
        runs = store.comparison(name)
        going = all(run.is_active or FROM_RUN in (run.summary or {}) for run in runs)
        if going and [run.spec for run in runs] == list(specs):
            return runs
    return None
