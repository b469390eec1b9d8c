"""Images of one's own that cannot be read: what is known of them, and whether runs go without."""

from __future__ import annotations

import logging

import streamlit as st

from asi_core.datasets import DATASETS, check_dataset
from asi_core.datasets.checking import SKIP_LABEL
from asi_core.errors import AsiError, one_sentence
from asi_core.methods import Vanilla
from asi_core.runs.submit.jobs import request_job
from asi_core.training.spec import RUN_DEFAULTS, RunSpec
from dashboard import services, visitor
from dashboard.frame import URL
from dashboard.jobs import job_progress
from dashboard.plain import plain

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0


def skip_control(dataset: str, key: str = "skip_damaged") -> bool:
    """The control that leaves damaged images out, where images of one's own are chosen."""
    if dataset in DATASETS:
        return bool(RUN_DEFAULTS["skip_damaged"])
    return st.toggle(
        SKIP_LABEL,
        key=key,
        help="Runs go without the images that cannot be read, and say how many those are. Off, no "
        "run begins while there are any.",
        **URL,
    )


def check_images_later(dataset: str) -> None:
    """Have the worker look at all images of an upload; what it finds, `damage_notice` shows.

    If nothing can be asked for now, the first run looks at them before it begins.
    """
    about = RunSpec(method=Vanilla(), dataset=dataset)
    try:
        job = request_job(services.jobs(), "samples", about, visitor.owner(), again=True)
    except AsiError as error:
        log.info("images are not looked through yet: %s", one_sentence(error))
        return
    if job.status == "queued":
        services.engine().submit_job(job.id)


def damage_notice(spec: RunSpec) -> None:
    """Say which images of one's own are not used or cannot be read, as far as that is known."""
    if spec.dataset in DATASETS:
        return
    try:
        card = check_dataset(spec.dataset)
    except AsiError as error:
        st.error(plain(one_sentence(error)))
        return
    for remark in card.remarks:
        st.caption(plain(remark))
    if card.damage is None:
        _progress(spec)
    elif card.damage.damaged and spec.skip_damaged:
        st.info(plain(f"{card.damage.sentence}. Runs go without them."))
    elif card.damage.damaged:
        st.warning(
            plain(f"{card.damage.sentence}. No run begins with them: turn on {SKIP_LABEL!r}, or ")
            + "upload the images again without them."
        )


def _progress(spec: RunSpec) -> None:
    about = RunSpec(method=Vanilla(), dataset=spec.dataset)
    job = services.jobs().latest("samples", about)
    if job is not None and job.is_active:
        # Starts the worker, and takes up what an earlier server left, if nobody has yet.
        services.engine()
        st.fragment(job_progress, run_every=_POLL_SECONDS)(job.id)
    else:
        st.caption(
            "Not all of these images have been decoded yet. Those that cannot be read are named "
            "before a run begins."
        )
