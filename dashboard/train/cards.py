"""A card for each run of a comparison: its accuracy, progress and state."""

from __future__ import annotations

import time

import streamlit as st

from asi_core.errors import AsiError, one_sentence
from asi_core.results.outcomes import left_out, test_images
from asi_core.runs.records import RunRecord
from asi_core.runs.store.queueing import FROM_RUN
from asi_core.runs.submit.service import request_cancel
from asi_core.units import by_formula, format_bytes, format_seconds, signed, than_vanilla
from dashboard import services, visitor
from dashboard.feed import RunFeed
from dashboard.history import run_labels
from dashboard.plain import plain
from dashboard.train.differences import difference
from dashboard.train.references import head_of, vanilla_of

_CARDS_A_ROW = 5


def cancel_all_button(runs: list[RunRecord]) -> None:
    """A button that stops all active runs, if there are several that the visitor may stop."""
    active = [run for run in runs if run.is_active and visitor.may_change(run)]
    if len(active) > 1:
        st.button(
            "Cancel all",
            key="cancel-all",
            icon=":material/stop:",
            on_click=_cancel,
            # In reverse order, so that a freed worker does not start the next of them.
            args=tuple(reversed(active)),
            help=f"Stop all {len(active)} active runs and keep their results so far.",
        )


def run_cards(runs: list[RunRecord], feeds: list[RunFeed]) -> None:
    """Draw the cards of a comparison's runs, in their order."""
    queue = services.store().line() if any(run.status == "queued" for run in runs) else []
    place = st.container(key="run-cards")
    cards = list(zip(runs, feeds, run_labels(runs), strict=True))
    for start in range(0, len(cards), _CARDS_A_ROW):
        row = cards[start : start + _CARDS_A_ROW]
        columns = place.columns(len(row))
        for column, (run, feed, label) in zip(columns, row, strict=True):
            with column, st.container(border=True, height="stretch"):
                _result(run, feed, label, runs, feeds)
                _state(run, feed, label, queue)


def _result(
    run: RunRecord, feed: RunFeed, label: str, runs: list[RunRecord], feeds: list[RunFeed]
) -> None:
    head, vanilla = head_of(runs, run), vanilla_of(runs, run)
    gained = difference(feed, None if head is None else feeds[head])
    accuracy = f"{100 * feed.evaluations[-1]['accuracy']:.1f} %" if feed.evaluations else "–"
    st.metric(
        plain(label),
        accuracy,
        delta=None if gained is None else f"{signed(gained.points)} points",
        # Streamlit reads the sign of a hyphen only.
        delta_arrow="off" if gained is None else "up" if gained.points >= 0 else "down",
        delta_color="off" if gained is None else "green" if gained.points >= 0 else "red",
        help=f"{run.spec.method.settings_label}, by {plain(run.spec.recipe_label)}: the latest "
        "accuracy on the test images, and its gain over the linear probe in percentage points, at "
        "the latest step at which both have been evaluated.",
    )
    if gained is not None:
        tie = ": a tie, by the size of the test set" if gained.is_tie(test_images(run)) else ""
        st.caption(f"over the linear probe at step {gained.step}{tie}")
    if feed.steps:
        st.caption(_facts(feed, None if vanilla is None else feeds[vanilla]))
    if message := images_note(run, feed):
        st.caption(message)


def images_note(run: RunRecord, feed: RunFeed) -> str:
    """The balanced accuracy, if classes differ much in size, and the number of damaged images."""
    message = []
    balanced = feed.evaluations[-1].get("balanced_accuracy") if feed.evaluations else None
    if balanced is not None:
        message.append(f"**{100 * balanced:.1f} %** balanced: the mean of per-class accuracies")
    if count := left_out(run):
        message.append(f"{count} damaged image{'s' if count > 1 else ''} left out")
    return "  \n".join(message)


def _state(run: RunRecord, feed: RunFeed, label: str, queue: list[str]) -> None:
    if run.status == "failed":
        st.error(plain(run.error or run.status))
    elif run.is_active:
        st.progress(feed.last_step / run.spec.steps, text=_progress(run, feed, queue))
        st.button(
            "Cancel",
            key=f"cancel-{run.id}",
            on_click=_cancel,
            args=(run,),
            disabled=not visitor.may_change(run),
            help=f"Stop {label} and keep its results so far; only its owner can.",
        )
    else:
        st.caption(_ending(run, feed))


def _cancel(*runs: RunRecord) -> None:
    try:
        request_cancel(services.store(), list(runs), visitor.owner())
    except AsiError as error:
        st.toast(plain(one_sentence(error)), icon=":material/error:")


def _facts(feed: RunFeed, vanilla: RunFeed | None) -> str:
    kept, saved = feed.mean("activation_bytes"), feed.mean("saved_bytes")
    assert saved is not None, "each step is measured"
    facts = [
        f"inputs kept: {by_formula(kept, format_bytes)}",
        f"saved for backward: {format_bytes(saved)}",
        f"step time: {format_seconds(feed.median_step)}",
    ]
    full = None if vanilla is None else vanilla.mean("activation_bytes")
    if full is not None and kept:
        facts.insert(0, f"**{than_vanilla(kept, full)}**")
    return "  \n".join(facts)


def _progress(run: RunRecord, feed: RunFeed, queue: list[str]) -> str:
    if run.status == "queued":
        if run.attempt:
            return f"its worker was lost: it resumes soon, near step {feed.last_step}"
        before = queue.index(run.id) if run.id in queue else 0
        return f"queued, {before} before it" if before else "queued"
    if run.cancel_requested:
        return "stopping"
    left = time_left(run, feed, time.time())
    return f"step {feed.last_step} of {run.spec.steps}" + (
        f", {format_seconds(left)} left" if left is not None else ", preparing"
    )


def _ending(run: RunRecord, feed: RunFeed) -> str:
    if run.status == "interrupted":
        return plain(run.error or "interrupted")
    if FROM_RUN in (run.summary or {}):
        return f"done before: {feed.last_step} steps, copied from the store"
    return f"{run.status} after {feed.last_step} steps"


def time_left(run: RunRecord, feed: RunFeed, now: float) -> float | None:
    """Seconds until a run ends, at its current pace."""
    done = feed.last_step
    if run.started_at is None or not done:
        return None
    if run.begins_from is not None:
        # Most of its steps so far may be of the run that it lengthens.
        return feed.median_step * (run.spec.steps - done)
    return (now - run.started_at) / done * (run.spec.steps - done)
