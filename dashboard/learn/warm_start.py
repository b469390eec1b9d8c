"""Lesson 3: why a warm start works."""

from __future__ import annotations

from statistics import fmean, median

import streamlit as st

from asi_core.costs.estimate import estimate
from asi_core.figures.lessons.guess import plot_guess
from asi_core.figures.lessons.warm_start import plot_overheads, plot_replay, plot_turning
from asi_core.methods import ASI, HOSVD, Method, Vanilla
from asi_core.records import Macs
from asi_core.training.events import LayerProbe
from asi_core.units import THIN_SPACE, three_digits
from asi_core.zoo.cards import model_card
from dashboard.frame import figure
from dashboard.learn import turning
from dashboard.learn.controls import Controls
from dashboard.learn.evidence import USUAL, ProbedRun, probed_run
from dashboard.learn.lesson import Lesson, Question, Reveal

_ANGLE = 10
_RANKS = (1, 2, 4, 8, 16, 32, 64)
_USUAL_RANK = 8


def question() -> Question:
    found = probed_run()
    if found is None:
        about = (
            f"A matrix of {turning.SIZE} rows is drawn anew at every step; the {turning.RANK} "
            f"directions that carry its signal turn by {_ANGLE}° a step. We follow them with "
            "**one** subspace iteration a step, started from the directions of the step before."
        )
    else:
        about = (
            f"In a run of {found.spec.steps} steps, ASI keeps each layer's input on a few "
            "directions a mode. It finds them with **one** subspace iteration a step, started from "
            "the directions of the step before. Every batch has other images, and the weights "
            "change all the time."
        )
    return Question(
        text=f"{about} A full decomposition finds the singular vectors, at many times the work."
        "\n\n**How much of the energy that the singular vectors hold does the single iteration "
        "hold, on average?**",
        label="Share of their energy",
        low=0,
        high=100,
        step=1,
        start=50,
        unit="%",
    )


def run(controls: Controls) -> None:
    found = probed_run()
    if found is None:
        st.info(
            "The precomputed run that is replayed here is missing from this installation. The "
            "lesson goes on with a matrix that turns; train the default comparison with ASI to "
            "have the replay too."
        )
    else:
        _replay(controls, found)
    _turning(controls)
    _overheads(controls)


def share_of_best(found: ProbedRun) -> float:
    """What ASI held of HOSVD's energy at the same ranks, mean over layers and later looks.

    The first step is left out: it starts from random directions.
    """
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
            hint="Steps at which the run looked at its layers.",
        )
    probes = [found.probes[step][name] for step in found.steps]
    captured = [probe.captured_energy or 0.0 for probe in probes]
    best = [probe.best_energy or 0.0 for probe in probes]
    here = found.steps.index(now)
    st.markdown(
        f"##### At step {now} ASI held {_percent(captured[here])} of the input's energy, HOSVD "
        f"would have held {_percent(best[here])}{_turned(probes[here])}"
    )
    figure(
        plot_replay(found.steps, captured, best, now),
        key="warm-start-replay",
        caption=f"Measured ({found.origin}): ASI's directions and those of HOSVD at the same "
        "ranks, on the same input.",
    )


def _turned(probe: LayerProbe) -> str:
    """How far the layer's directions have turned; not of the batch, whose images are others."""
    drift = [angle for angle in (probe.drift_degrees or ())[1:] if angle is not None]
    if not drift:
        return ""
    return f"; since the step before, its directions had turned by up to {max(drift):.0f}°"


def _turning(controls: Controls) -> None:
    angle = controls.slider(
        "angle",
        "Turn from step to step, degrees",
        low=0,
        high=90,
        step=5,
        start=_ANGLE,
        hint="All directions of the signal turn by this angle, into new ones.",
    )
    followed = turning.follow(angle)
    st.markdown(
        f"##### At {angle:g}° a step the warm start holds {_percent(followed.warm_share)} of the "
        f"best energy, a cold start {_percent(followed.cold_share)}"
    )
    figure(
        plot_turning(followed.best, followed.warm, followed.cold),
        key="warm-start-turning",
        caption=f"Computed here: matrices of {turning.SIZE} × {turning.COLUMNS} with "
        f"{turning.RANK} turning directions and as much noise in every entry; one iteration a step "
        "for either start.",
    )


def _overheads(controls: Controls) -> None:
    rank = controls.scale(
        "rank",
        "Rank of every mode",
        _RANKS,
        start=_USUAL_RANK,
        hint="At most the size of the mode.",
    )
    asi, gram = (_macs(method).overhead for method in (ASI(ranks=rank), HOSVD(ranks=rank)))
    published = _macs(HOSVD(ranks=rank, solver="svd")).overhead
    st.markdown(
        f"##### At rank {rank} HOSVD spends {three_digits(gram / asi)}{THIN_SPACE}× the multiplies "
        f"of ASI on its bases, and by full SVDs {three_digits(published / asi)}{THIN_SPACE}×"
    )
    bars = [
        ("ASI", ASI.class_kind(), asi),
        ("HOSVD<br>(Gram matrix)", HOSVD.class_kind(), gram),
        ("HOSVD<br>(full SVD)", HOSVD.class_kind(), published),
    ]
    figure(
        plot_overheads(bars, _macs(Vanilla()).total),
        key="warm-start-overheads",
        caption=f"Formula, exact convention: the last {USUAL.layers} convolutions of "
        f"{model_card(USUAL.model).title}, batch {USUAL.batch_size}, {USUAL.image_size} pixels.",
    )


def _macs(method: Method) -> Macs:
    return estimate(
        USUAL.model,
        method,
        layers=USUAL.layers,
        batch_size=USUAL.batch_size,
        image_size=USUAL.image_size,
        convention="exact",
    ).macs


def reveal(guess: float) -> Reveal:
    found = probed_run()
    cold = three_digits(100 * turning.follow(_ANGLE).cold_share)
    if found is None:
        truth = 100 * turning.follow(_ANGLE).warm_share
        caption = f"Computed here at {_ANGLE}° a step; mean over all steps but the first."
        message = ""
    else:
        truth = 100 * share_of_best(found)
        caption = f"Measured ({found.origin}): mean over all layers and looks but the first."
        message = _drift_text(found)
    return Reveal(
        truth=truth,
        meaning="of what the singular vectors hold",
        plot=plot_guess(
            guess, truth, title="Your guess and the truth", unit="%", span=(0.0, 100.0)
        ),
        caption=caption,
        explanation="An iteration multiplies the directions by the matrix and its transpose, so "
        "the strong ones win. From random directions one "
        f"iteration is not enough: in the turning matrix it holds {cold}{THIN_SPACE}% of the best. "
        f"Started from the step before, it only has to make up for the turn.{message} Errors do "
        "not pile up, for every step pulls towards the present input. At a turn of 90° a warm "
        "start is worth no more than a cold one.",
    )


def _drift_text(found: ProbedRun) -> str:
    """How far the run's modes usually turned, in a sentence; nothing if it was not measured."""
    probes = [probe for layers in found.probes.values() for probe in layers.values()]
    turns = {
        name: [angle for probe in probes if (angle := _drift(probe, mode)) is not None]
        for mode, name in enumerate(model_card(found.spec.model).mode_names)
    }
    usual = [f"{median(angles):.0f}° ({name})" for name, angles in turns.items() if angles]
    if not usual:
        return ""
    return (
        f" In the run the usual turn was {', '.join(usual)}: channels and positions mean the same "
        "at every step, while the images are others."
    )


def _drift(probe: LayerProbe, mode: int) -> float | None:
    return None if probe.drift_degrees is None else probe.drift_degrees[mode]


def _percent(share: float) -> str:
    return f"{three_digits(100 * share)}{THIN_SPACE}%"


LESSON = Lesson(
    slug="warm-start",
    title="Why a warm start works",
    question=question,
    run=run,
    reveal=reveal,
    thought="The batch mode has other images at every step. Why does its warm start not fail "
    "completely, and what would happen with sorted batches, one class each?",
    hint="The first direction of the batch mode is nearly the same for every batch: all images "
    "share a mean. Then set the turn above to 90° and look at where the warm start meets the cold "
    "one.",
)
