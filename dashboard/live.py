"""The live view of a comparison: the answer, a card for each run, and the curves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Literal

import streamlit as st

from asi_core.figures import curves
from asi_core.figures.curves import RunRows
from asi_core.figures.shades import shaded
from asi_core.figures.spectra import Cut, SpectrumRows, plot_spectra
from asi_core.figures.style import HEAD_ALONE, Figure
from asi_core.runs.records import RunRecord
from asi_core.training.events import LayerProbe
from asi_core.units import THIN_SPACE, format_bytes, format_seconds, three_digits
from asi_core.zoo.cards import model_card
from dashboard import services
from dashboard.feed import RunFeed, run_style
from dashboard.history import run_labels
from dashboard.live_chart import live_chart

Phase = Literal["waiting", "going", "ended"]

_CARDS_A_ROW = 5
_WAITING = "Waiting for the first step …"


def live_comparison(comparison: str) -> None:
    """Show a comparison, and keep it up to date while any of its runs is going.

    What is dear to draw is drawn less often: browser and worker may share two cores.
    """
    drawn = _phase(*_read(comparison))
    for part, seconds in ((_progress_part, 1.0), (_curves_part, 3.0), (_details_part, 6.0)):
        st.fragment(part, run_every=None if drawn == "ended" else seconds)(comparison, drawn)


def _progress_part(comparison: str, drawn: Phase) -> None:
    runs, feeds = _read(comparison)
    if _phase(runs, feeds) != drawn:
        # The first point and the end are shown at once, not when their own part is next drawn.
        st.rerun()
    st.markdown(f"##### {answer(runs, feeds)}")
    _cards(runs, feeds)


def _curves_part(comparison: str, drawn: Phase) -> None:
    rows = _rows(*_read(comparison))
    _charts(rows, (_told_apart(curves.plot_accuracy), _told_apart(curves.plot_loss)))
    st.caption("Measured: accuracy on all test images, loss on the training batches.")


def _details_part(comparison: str, drawn: Phase) -> None:
    runs, feeds = _read(comparison)
    _charts(_rows(runs, feeds), (curves.plot_memory, curves.plot_cost, curves.plot_step_time))
    st.caption(
        "Formula: the inputs of the trained layers, 4 bytes a number, as they are kept for the "
        "weight gradient, and the multiply-accumulates that the code executes on those layers. "
        "Measured: the bytes that PyTorch saves for backward in the whole trained part. Activation "
        "functions and normalisations save their own inputs there, whatever the method keeps."
    )
    _spectra(runs, feeds)


def _read(comparison: str) -> tuple[list[RunRecord], list[RunFeed]]:
    runs = services.store().comparison(comparison)
    return runs, [_feed(run) for run in runs]


def _phase(runs: list[RunRecord], feeds: list[RunFeed]) -> Phase:
    if not any(run.is_active for run in runs):
        return "ended"
    return "going" if any(feed.steps for feed in feeds) else "waiting"


def _rows(runs: list[RunRecord], feeds: list[RunFeed]) -> list[RunRows]:
    named = zip(runs, feeds, run_labels(runs), strict=True)
    return [feed.rows(run, label) for run, feed, label in named]


def answer(runs: list[RunRecord], feeds: list[RunFeed]) -> str:
    """The comparison in one sentence, as far as it is known."""
    known = {run_style(r): f for r, f in zip(runs, feeds, strict=True) if f.steps}
    asi, vanilla = known.get("asi"), known.get("vanilla")
    if asi is None or vanilla is None:
        if any(run.is_active for run in runs):
            return "The curves below grow as the runs go." if known else _WAITING
        return "Without both ASI and vanilla, the runs are compared with each other alone."
    kept = [_mean(feed, "activation_bytes") for feed in (asi, vanilla)]
    sentence = (
        f"ASI keeps {format_bytes(kept[0])} where vanilla keeps {format_bytes(kept[1])}: "
        f"{three_digits(kept[1] / kept[0])}{THIN_SPACE}× less"
    )
    if not (asi.evaluations and vanilla.evaluations):
        return sentence + "."
    reached = [100 * feed.evaluations[-1]["accuracy"] for feed in (asi, vanilla)]
    return f"{sentence}, at {reached[0]:.1f} % test accuracy against {reached[1]:.1f} %."


def time_left(run: RunRecord, feed: RunFeed, now: float) -> float | None:
    """Seconds until a running run ends, at its pace so far."""
    done = len(feed.steps)
    if run.started_at is None or not done:
        return None
    return (now - run.started_at) / done * (run.spec.steps - done)


def _feed(run: RunRecord) -> RunFeed:
    feeds: dict[str, RunFeed] = st.session_state.setdefault("feeds", {})
    feed = feeds.setdefault(run.id, RunFeed())
    feed.refresh(services.store(), run.id)
    return feed


def _cards(runs: list[RunRecord], feeds: list[RunFeed]) -> None:
    by_style = {run_style(run): feed for run, feed in zip(runs, feeds, strict=True)}
    head, vanilla = by_style.get(HEAD_ALONE), by_style.get("vanilla")
    cards = list(zip(runs, feeds, run_labels(runs), strict=True))
    for start in range(0, len(cards), _CARDS_A_ROW):
        row = cards[start : start + _CARDS_A_ROW]
        for column, (run, feed, label) in zip(st.columns(len(row)), row, strict=True):
            with column, st.container(border=True):
                _card(run, feed, label, head, vanilla)


def _card(
    run: RunRecord, feed: RunFeed, label: str, head: RunFeed | None, vanilla: RunFeed | None
) -> None:
    accuracy = f"{100 * feed.evaluations[-1]['accuracy']:.1f} %" if feed.evaluations else "–"
    st.metric(
        label,
        accuracy,
        delta=_gain(feed, head),
        help=f"{run.spec.method.settings_label}: accuracy on the test images, and how many points "
        "it gains over training the new classifier alone.",
    )
    if feed.steps:
        st.caption(_facts(feed, vanilla))
    if run.status == "failed":
        st.error(run.error)
    elif run.is_active:
        done = len(feed.steps)
        st.progress(done / run.spec.steps, text=_progress(run, feed))
        st.button(
            "Cancel",
            key=f"cancel-{run.id}",
            on_click=services.store().request_cancel,
            args=(run.id,),
            help=f"Stop {label} and keep what it has measured.",
        )
    else:
        st.caption(_ending(run, feed))


def _gain(feed: RunFeed, head: RunFeed | None) -> str | None:
    """Points of accuracy over the head alone, after the same number of steps."""
    if head is None or head is feed or not feed.evaluations:
        return None
    step, reached = feed.evaluations[-1]["step"], feed.evaluations[-1]["accuracy"]
    floor = [row["accuracy"] for row in head.evaluations if row["step"] == step]
    return f"{100 * (reached - floor[0]):+.1f} points" if floor else None


def _facts(feed: RunFeed, vanilla: RunFeed | None) -> str:
    kept, saved = _mean(feed, "activation_bytes"), _mean(feed, "saved_bytes")
    seconds = sorted(row["forward_seconds"] + row["backward_seconds"] for row in feed.steps)
    facts = [
        f"inputs kept: {format_bytes(kept)}",
        f"all saved: {format_bytes(saved)}",
        f"a step: {format_seconds(seconds[len(seconds) // 2])}",
    ]
    if vanilla is not None and vanilla.steps and vanilla is not feed and kept:
        ratio = _mean(vanilla, "activation_bytes") / kept
        facts.insert(0, f"**{three_digits(ratio)}{THIN_SPACE}× less than vanilla**")
    return "  \n".join(facts)


def _progress(run: RunRecord, feed: RunFeed) -> str:
    if run.status == "queued":
        return "waiting for a place"
    if run.cancel_requested:
        return "stopping"
    left = time_left(run, feed, time.time())
    return f"step {len(feed.steps)} of {run.spec.steps}" + (
        f", {format_seconds(left)} left" if left is not None else ", preparing"
    )


def _ending(run: RunRecord, feed: RunFeed) -> str:
    if run.status == "interrupted":
        return run.error or "interrupted"
    return f"{run.status} after {len(feed.steps)} steps"


def _told_apart(plot: Callable[[Sequence[RunRows]], Figure]) -> Callable[..., Figure]:
    """The same figure of curves, with runs of one method in different shades where there are."""

    @wraps(plot)
    def drawn(rows: Sequence[RunRows]) -> Figure:
        styles = [row.style for row in rows]
        if len(set(styles)) == len(styles):
            return plot(rows)
        return shaded(plot(rows), styles, [row.label for row in rows])

    return drawn


def _charts(rows: list[RunRows], plots: Sequence[Callable[..., Any]]) -> None:
    for column, plot in zip(st.columns(len(plots)), plots, strict=True):
        with column:
            live_chart(plot(rows), key=plot.__name__)


def _spectra(runs: list[RunRecord], feeds: list[RunFeed]) -> None:
    probed = {run_style(r): f for r, f in zip(runs, feeds, strict=True) if f.probes}
    if not probed:
        return
    st.markdown("##### Why it can be small: the spectra of what each layer keeps")
    source = probed.get("asi") or next(iter(probed.values()))
    steps = sorted(source.probes)
    names = list(source.probes[steps[0]])
    left, right = st.columns(2)
    name = left.selectbox("Layer", names, key="spectrum_layer")
    step = right.select_slider("Step", steps, value=steps[-1]) if len(steps) > 1 else steps[0]
    probe = source.probes[step][name]
    cuts = [
        Cut(label, run_style(run), layer.ranks)
        for run, feed, label in zip(runs, feeds, run_labels(runs), strict=True)
        if (layer := feed.probes.get(step, {}).get(name)) is not None and layer.ranks is not None
    ]
    modes = model_card(runs[0].spec.model).mode_names
    figure = plot_spectra(SpectrumRows(probe.shape, probe.singular_values, modes), cuts)
    live_chart(figure, key="plot_spectra")
    if probe.captured_energy is not None:
        st.caption(_what_was_kept(probe, step))


def _what_was_kept(probe: LayerProbe, step: int) -> str:
    """One layer's probe in words; all of it measured."""
    assert probe.captured_energy is not None
    size = " × ".join(map(str, probe.shape))
    told = [
        f"At step {step} the kept form holds {100 * probe.captured_energy:.1f} % of the energy of "
        f"this layer's input ({size})"
    ]
    if probe.best_energy is not None:
        told.append(f"HOSVD would hold {100 * probe.best_energy:.1f} % at the same ranks")
    if probe.gradient_cosine is not None:
        told.append(f"the weight gradient's cosine to the exact one is {probe.gradient_cosine:.3f}")
    # Of the batch mode it would say nothing: every batch has other images.
    turned = [degrees for degrees in (probe.drift_degrees or ())[1:] if degrees is not None]
    if turned:
        told.append(
            f"since the step before, the widest turn of a subspace (batch aside) is "
            f"{max(turned):.0f}°"
        )
    return "; ".join(told) + ". All measured."


def _mean(feed: RunFeed, key: str) -> float:
    return float(sum(row[key] for row in feed.steps) / len(feed.steps))
