"""Lesson 2: what low rank means."""

from __future__ import annotations

from math import prod

import streamlit as st

from asi_core.costs.spectrum_ranks import ranks_of_spectra
from asi_core.figures.lessons.guess import plot_guessed_rank
from asi_core.figures.lessons.low_rank import ModeCut, plot_mode_energy, plot_picture
from asi_core.methods.costs import capped_ranks, tucker_bytes
from asi_core.records import ELEMENT_BYTES
from asi_core.training.events import LayerProbe
from asi_core.units import THIN_SPACE, format_bytes, three_digits
from asi_core.zoo.cards import model_card
from dashboard.frame import Kpi, figure, kpi_row
from dashboard.learn.controls import Controls
from dashboard.learn.evidence import ProbedRun, probed_run
from dashboard.learn.lesson import Lesson, Question, Reveal
from dashboard.learn.pictures import approximate, pictures, singular_values

_CHANNEL = 1
_SHARE, _PICTURE_SHARE = 0.8, 0.95
_FIRST_RANK = 4


def question() -> Question:
    run = probed_run()
    return _about_a_picture() if run is None else _about_channels(run)


def _about_channels(run: ProbedRun) -> Question:
    probe = _widest(run)
    size = probe.shape[_CHANNEL]
    directions = len(probe.singular_values[_CHANNEL])
    return Question(
        text=f"The layer `{probe.name}` reads {_times(probe.shape)} numbers: "
        f"{', '.join(model_card(run.spec.model).mode_names)}. Lay its {size} channels out as the "
        f"rows of a matrix, one column for each position in each image. This matrix has "
        f"{directions} singular values; their squares are its energy.\n\n**How many of the "
        f"{directions} directions are needed to hold {_percent(_SHARE)} of the energy?**",
        label="Directions",
        low=1,
        high=directions,
        step=1,
        start=max(1, directions // 4),
        unit="directions",
    )


def _about_a_picture() -> Question:
    name, picture = next(iter(pictures().items()))
    directions = min(picture.shape)
    return Question(
        text=f"A grey picture of {_times(picture.shape)} pixels ({name}) is a matrix with "
        f"{directions} singular values; their squares are its energy.\n\n**How many directions are "
        f"needed to hold {_percent(_PICTURE_SHARE)} of the energy?**",
        label="Directions",
        low=1,
        high=directions,
        step=1,
        start=directions // 2,
        unit="directions",
    )


def _widest(run: ProbedRun) -> LayerProbe:
    """The layer with the most channels, at the last look."""
    return max(run.probes[run.steps[-1]].values(), key=lambda probe: probe.shape[_CHANNEL])


def run(controls: Controls) -> None:
    found = probed_run()
    if found is None:
        st.info(
            "The precomputed run whose layers are looked at here is missing from this "
            "installation. The lesson goes on with pictures; train the default comparison with "
            "ASI to have the spectra too."
        )
    else:
        _spectra(controls, found)
    _picture(controls)


def _spectra(controls: Controls, found: ProbedRun) -> None:
    columns = st.columns(3)
    with columns[0]:
        name = controls.choice(
            "layer",
            "Layer",
            found.layers,
            start=_widest(found).name,
            hint="One of the trained layers; what is shown is its input.",
        )
    with columns[1]:
        step = controls.scale(
            "step",
            "Training step",
            found.steps,
            start=found.steps[-1],
            hint="Steps at which the run looked at its layers.",
        )
    with columns[2]:
        share = controls.slider(
            "explained_variance",
            "Explained variance",
            low=0.3,
            high=0.99,
            step=0.01,
            start=_SHARE,
            hint="Each mode keeps the fewest directions that hold this share of the energy.",
        )
    probe = found.probes[step][name]
    ranks = capped_ranks(ranks_of_spectra(probe.singular_values, share), probe.shape)
    _kept(probe, ranks)
    names = model_card(found.spec.model).mode_names
    cuts = [
        ModeCut(*mode)
        for mode in zip(names, probe.shape, probe.singular_values, ranks, strict=True)
    ]
    figure(
        plot_mode_energy(cuts, share),
        key="low-rank-spectra",
        caption=f"Measured: singular values of the layer's input at step {step} "
        f"({found.origin}). The marks are where the dotted line is first reached.",
    )


def _kept(probe: LayerProbe, ranks: tuple[int, ...]) -> None:
    full = ELEMENT_BYTES * prod(probe.shape)
    kept = tucker_bytes(probe.shape, ranks, "exact")
    kpi_row(
        [
            Kpi("Ranks", _times(ranks), f"of {_times(probe.shape)}", "One for each mode."),
            Kpi(
                "Kept",
                format_bytes(kept),
                f"{three_digits(full / kept)}{THIN_SPACE}× less than {format_bytes(full)}",
                "Formula: the core and one factor for each mode that is cut.",
            ),
            Kpi(
                "Energy lost, at most",
                _percent(min(1.0, lost_at_most(probe, ranks))),
                "all modes together",
                "The sum of what each mode cuts off: no Tucker form by HOSVD loses more "
                "(De Lathauwer et al. 2000).",
            ),
        ]
    )


def lost_at_most(probe: LayerProbe, ranks: tuple[int, ...]) -> float:
    """Share of the energy that HOSVD loses at most: the sum of what its modes cut off."""
    return sum(
        sum(value * value for value in values[rank:]) / sum(value * value for value in values)
        for values, rank in zip(probe.singular_values, ranks, strict=True)
    )


def _picture(controls: Controls) -> None:
    known = pictures()
    columns = st.columns(2)
    with columns[0]:
        name = controls.choice(
            "picture",
            "Picture",
            list(known),
            start=next(iter(known)),
            hint="The first test image of each class of the bundled data set.",
        )
    picture = known[name]
    with columns[1]:
        rank = controls.slider(
            "picture_rank",
            "Rank of the picture",
            low=1,
            high=min(picture.shape),
            step=1,
            start=_FIRST_RANK,
            hint="How many columns times rows the picture is put together from.",
        )
    close = approximate(picture, int(rank))
    st.markdown(
        f"##### Rank {rank:g} holds {_percent(close.energy)} of the energy in {close.numbers} "
        f"instead of {picture.size} numbers; the error is {_percent(close.error)} of its norm"
    )
    figure(
        plot_picture(picture.tolist(), close.matrix.tolist(), int(rank)),
        key="low-rank-picture",
        caption="Computed here by the singular value decomposition: no other matrix of this rank "
        "is closer.",
    )


def reveal(guess: float) -> Reveal:
    found = probed_run()
    if found is None:
        name, picture = next(iter(pictures().items()))
        values, share, what = singular_values(picture), _PICTURE_SHARE, f"the picture ({name})"
    else:
        probe = _widest(found)
        values, share, what = probe.singular_values[_CHANNEL], _SHARE, f"`{probe.name}`"
    (truth,) = ranks_of_spectra([values], share)
    return Reveal(
        truth=truth,
        meaning=f"of {len(values)}",
        plot=plot_guessed_rank(values, guess, truth, share),
        caption=f"Energy held by the first singular vectors of {what}."
        + (f" Measured at the last look ({found.origin})." if found else " Computed here."),
        explanation="Singular vectors are directions, sorted by how much of the matrix lies along "
        "them. Where neighbouring pixels, channels and images resemble each other, few directions "
        "carry most of it, and a matrix of low rank, made of these few, is close to the whole. A "
        "layer's input has one such matrix for each mode: its unfolding. A Tucker form keeps a few "
        "directions of every mode and a small core that says how they combine. The explained "
        "variance says how much each mode must hold; the ranks follow. What is cut off is lost to "
        "the weight gradient alone: the forward pass uses the whole input.",
    )


def _times(sizes: tuple[int, ...]) -> str:
    return " × ".join(map(str, sizes))


def _percent(share: float) -> str:
    return f"{three_digits(100 * share)}{THIN_SPACE}%"


LESSON = Lesson(
    slug="low-rank",
    title="What low rank means",
    question=question,
    run=run,
    reveal=reveal,
    thought="Kept numbers are few only if **all** ranks are small. At which explained variance "
    "would core and factors take more numbers than the input itself?",
    hint="A Tucker form has the product of the ranks in its core, and size times rank in each "
    "factor. A mode at full rank needs no factor. Move the explained variance towards its end, "
    "or take a picture: at which rank do columns and rows take as many numbers as the pixels?",
)
