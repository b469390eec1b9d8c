"""Uploaded images that cannot be read: which they are, and whether runs leave them out."""

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
from dashboard.jobs import watch_job
from dashboard.plain import plain

log = logging.getLogger(__name__)


def skip_control(dataset: str) -> bool:
    """The toggle that leaves damaged images out, for user images."""
    if dataset in DATASETS:
        return bool(RUN_DEFAULTS["skip_damaged"])
    return st.toggle(
        SKIP_LABEL,
        key="skip_damaged",
        help="Runs skip images that cannot be read, and report how many. If off, no run starts "
        "while there are any.",
        **URL,
    )


def check_images_later(dataset: str) -> None:
    """Have the worker check all images of an upload; `damage_notice` shows the result.

    If no job can be requested now, the first run checks them before it starts.
    """
    spec = RunSpec(method=Vanilla(), dataset=dataset)
    try:
        job = request_job(services.jobs(), "samples", spec, visitor.owner(), again=True)
    except AsiError as error:
        log.info("images are not checked yet: %s", one_sentence(error))
        return
    if job.status == "queued":
        services.engine().submit_job(job.id)


def damage_notice(spec: RunSpec) -> None:
    """Show which user images are not used or cannot be read, as far as they have been checked."""
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
        _progress(spec.dataset)
    elif card.damage.damaged and spec.skip_damaged:
        st.info(plain(f"{card.damage.sentence}. Runs leave them out."))
    elif card.damage.damaged:
        st.warning(
            plain(f"{card.damage.sentence}. No run starts with them: turn on {SKIP_LABEL!r}, or ")
            + "upload the images again without them."
        )


def _progress(dataset: str) -> None:
    job = services.jobs().latest("samples", RunSpec(method=Vanilla(), dataset=dataset))
    if job is not None and job.is_active:
        watch_job(job)
    else:
        st.caption(
            "Not all of these images have been decoded yet. Those that cannot be read are named "
            "before a run starts."
        )
