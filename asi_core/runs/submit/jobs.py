"""Requesting jobs: queue a job that can start, or return an existing one."""

from __future__ import annotations

from asi_core.datasets import check_dataset
from asi_core.errors import InvalidInput
from asi_core.runs.job_kinds import job_kind
from asi_core.runs.store.job_store import JobRecord, JobStatus, JobStore
from asi_core.runs.submit.limits import check_specs
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import model_card
from asi_core.zoo.weights import check_obtainable


def request_job(
    store: JobStore,
    kind: str,
    spec: RunSpec,
    owner: str,
    again: bool = False,
    network: str | None = None,
) -> JobRecord:
    """Queue a job, if it can start.

    If the same job is active, or completed and not `again`, that one is returned.

    Args:
        again: whether to repeat a completed job.
        network: the network of the request (`networks`), if known.

    Raises:
        InvalidInput: if the kind does not exist, images are invalid, or too many jobs of the owner,
            from the network or of all owners are queued.
        Refused: if the installation is read-only.
        Unavailable: if weights or images are missing or damaged; nothing is queued then.
    """
    statuses: tuple[JobStatus, ...] = ("queued", "running") + (() if again else ("completed",))
    if (known := store.latest(kind, spec, *statuses)) is not None:
        return known
    settings = read_settings()
    settings.check_may_change()
    spec.check_can_be_repeated()
    check_specs([spec], settings)
    if spec.pretrained:
        check_obtainable(model_card(spec.model))
    _check_images(kind, spec)
    limits, active = settings.limits, store.active()
    same_owner = sum(whose == owner for whose, _ in active)
    same_network = sum(network is not None and place == network for _, place in active)
    _check_room(limits.questions_per_owner, same_owner, "of one visitor")
    _check_room(limits.questions_per_network, same_network, "from one network address")
    _check_room(limits.questions, len(active), "of all visitors together")
    return store.create(kind, spec, owner, network)


def _check_images(kind: str, spec: RunSpec) -> None:
    settings, card = job_kind(kind).settings, check_dataset(spec.dataset, spec.skip_damaged)
    if "skip_damaged" in settings:
        card.check_images(spec.skip_damaged)
    if "batch_size" in settings:
        card.check_batch_size(spec.batch_size)


def _check_room(most: int, waiting: int, whose: str) -> None:
    if waiting >= most:
        raise InvalidInput(
            f"at most {most} calibrations and measurements {whose} may be queued at a time",
            f"one more than {waiting}",
            "wait until one is done",
        )
