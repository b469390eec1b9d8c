"""Lesson 3: why a warm start works."""

from __future__ import annotations

from functools import partial
from statistics import fmean, median

import streamlit as st

from asi_core.figures.lessons.guess import plot_guess
from asi_core.figures.lessons.warm_start import plot_overheads, plot_replay, plot_turning
from asi_core.figures.style import Figure
from asi_core.methods import ASI, HOSVD, Vanilla
from asi_core.training.events import LayerProbe
from asi_core.units import times
from asi_core.zoo.cards import model_card
from dashboard.frame import axis_control, figure, short_percent
from dashboard.learn import turning
from dashboard.learn.controls import Controls
from dashboard.learn.evidence import USUAL_CAPTION, ProbedRun, probed_run, usual_cost
from dashboard.learn.lesson import Lesson, Question, Reveal

_ANGLE = 10


def question() -> Question:
    found = probed_run()
    if found is None:
        about = (
            f"A new random matrix of {turning.SIZE} rows is drawn at every step; the "
            f"{turning.RANK} directions that carry its signal turn by {_ANGLE}° per step. We track "
            "them with **one** subspace iteration per step, started from the directions of the "
            "previous step."
        )
    else:
        about = (
            f"In a run of {found.spec.steps} steps, ASI projects each layer's input onto a few "
            "directions per mode. It finds them with **one** subspace iteration per step, started "
            "from the directions of the previous step. Every batch has other images, and the "
            "weights change all the time."
        )
    text = (
        f"{about} A full decomposition finds the singular vectors, at many times the work."
        "\n\n**How much of the energy that the singular vectors hold does the single iteration "
        "hold, on average?**"
    )
    return Question(text, "Share of their energy", 0, 100, 50, "%")


def picture() -> tuple[Figure, str]:
    """The energy that singular vectors hold."""
    found = probed_run()
    if found is None:
        return plot_turning(turning.follow(_ANGLE).best), f"Computed here, at {_ANGLE}° per step."
    name = found.layers[0]
    best = [found.probes[step][name].best_energy or 0.0 for step in found.steps]
    plot = plot_replay(found.steps, None, best, found.steps[-1])
    return plot, f"Measured ({found.origin}): what HOSVD would hold of the input of `{name}`."


def run(controls: Controls) -> None:
    found = probed_run()
    if found is None:
        st.info(
            "The precomputed run of this lesson is missing from this installation. The lesson uses "
            "a turning matrix instead; to see the replay too, train the default comparison with "
            "ASI, its factors updated every step."
        )
    else:
        _replay(controls, found)
    _turning(controls)
    _overheads(controls)


def share_of_best(found: ProbedRun) -> float:
    """Energy held by ASI relative to HOSVD at the same ranks, mean over layers and all probes but
    the first, which starts from random directions."""
    later = [probe for step in found.steps[1:] for probe in found.probes[step].values()]
    return fmean(_held(probe) for probe in later)


def _held(probe: LayerProbe) -> float:
    assert probe.captured_energy is not None
    assert probe.best_energy is not None
    return probe.captured_energy / probe.best_energy


def _replay(controls: Controls, found: ProbedRun) -> None:
    columns = st.columns(2)
    with columns[0]:
        name = controls.choice(
            "layer", "Layer", found.layers, start=found.layers[0], hint="One of the trained layers."
        )
    with columns[1]:
        now = controls.scale(
            "step",
            "Replay up to step",
            found.steps,
            start=found.steps[-1],
            hint="Steps at which the layers were probed.",
        )
    probes = [found.probes[step][name] for step in found.steps]
    captured = [probe.captured_energy or 0.0 for probe in probes]
    best = [probe.best_energy or 0.0 for probe in probes]
    here = found.steps.index(now)
    st.markdown(
        f"##### At step {now} ASI held {short_percent(captured[here])} of the input's energy, "
        f"HOSVD would have held {short_percent(best[here])}{_turned(probes[here])}"
    )
    figure(
        plot_replay(found.steps, captured, best, now),
        key="warm-start-replay",
        caption=f"Measured ({found.origin}): energy held by ASI's directions and by those of HOSVD "
        "at the same ranks, on the same input.",
    )


def _turned(probe: LayerProbe) -> str:
    """How far the layer's directions have turned, without the batch mode, whose images change."""
    drift = [angle for angle in (probe.drift_degrees or ())[1:] if angle is not None]
    if not drift:
        return ""
    return f"; since the previous step, its directions had turned by up to {max(drift):.0f}°"


def _turning(controls: Controls) -> None:
    angle = controls.slider(
        "angle",
        "Turn per step, degrees",
        (0, 90),
        step=5,
        start=_ANGLE,
        hint="All directions of the signal turn by this angle, towards new ones.",
    )
    followed = turning.follow(angle)
    st.markdown(
        f"##### At {angle:g}° per step the warm start holds {short_percent(followed.warm_share)} "
        f"of the best energy, a cold start {short_percent(followed.cold_share)}"
    )
    figure(
        plot_turning(followed.best, followed.warm, followed.cold),
        key="warm-start-turning",
        caption=f"Computed here: matrices of {turning.SIZE} × {turning.COLUMNS} with "
        f"{turning.RANK} turning directions and as much noise in every entry; one iteration per "
        "step for either start.",
    )


def _overheads(controls: Controls) -> None:
    rank = controls.rank()
    methods = (
        ASI(ranks=rank, update="every_step"),
        HOSVD(ranks=rank),
        HOSVD(ranks=rank, solver="svd"),
    )
    asi, gram, svd = (usual_cost(method).macs.overhead for method in methods)
    st.markdown(
        f"##### At rank {rank} HOSVD needs {times(gram / asi)} the multiply-accumulates of ASI for "
        f"its bases; with full SVDs {times(svd / asi)}"
    )
    bars = [
        ("ASI", ASI.class_kind(), asi),
        ("HOSVD<br>(Gram matrix)", HOSVD.class_kind(), gram),
        ("HOSVD<br>(full SVD)", HOSVD.class_kind(), svd),
    ]
    overheads = partial(plot_overheads, bars, usual_cost(Vanilla()).macs.total)
    log = axis_control()
    figure(
        overheads(log=log),
        other_axis=partial(overheads, log=not log),
        key="warm-start-overheads",
        caption=USUAL_CAPTION,
    )


def reveal(guess: float) -> Reveal:
    found, followed = probed_run(), turning.follow(_ANGLE)
    if found is None:
        truth = 100 * followed.warm_share
        caption = f"Computed here at {_ANGLE}° per step; mean over all steps but the first."
        message = ""
    else:
        truth = 100 * share_of_best(found)
        caption = f"Measured ({found.origin}): mean over all layers and probes but the first."
        message = _drift_text(found)
    return Reveal(
        truth=truth,
        meaning="of the energy that the singular vectors hold",
        plot=plot_guess(
            guess, truth, title="Your guess and the truth", unit="%", span=(0.0, 100.0)
        ),
        caption=caption,
        explanation="An iteration multiplies the directions by the matrix and its transpose, which "
        "amplifies the strongest ones. From random directions one iteration is not enough: in the "
        f"turning matrix it holds {short_percent(followed.cold_share)} of the best energy. Started "
        f"from the previous step, it only has to correct for the turn.{message} Errors do not "
        "accumulate, because every step pulls towards the current input. At a turn of 90° a warm "
        "start is no better than a cold one.",
    )


def _drift_text(found: ProbedRun) -> str:
    """How far the run's modes turned, in a sentence; empty if it was not measured."""
    probes = [probe for layers in found.probes.values() for probe in layers.values()]
    drifts = [probe.drift_degrees for probe in probes if probe.drift_degrees is not None]
    turns = {
        name: [angle for drift in drifts if (angle := drift[mode]) is not None]
        for mode, name in enumerate(model_card(found.spec.model).mode_names)
    }
    usual = [f"{median(angles):.0f}° ({name})" for name, angles in turns.items() if angles]
    if not usual:
        return ""
    return (
        f" In the run the median turn was {', '.join(usual)}: channels and positions keep their "
        "meaning from step to step, while the images change."
    )


LESSON = Lesson(
    slug="warm-start",
    title="Why a warm start works",
    question=question,
    picture=picture,
    run=run,
    reveal=reveal,
    thought="The batch mode has other images at every step. Why does its warm start not fail "
    "completely, and what would happen with sorted batches, one class each?",
    hint="The first direction of the batch mode is nearly the same for every batch: all images "
    "share a mean. Then set the turn above to 90° and see where the warm start meets the cold one.",
)
