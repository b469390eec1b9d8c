"""Lesson 2: what low rank means."""

from __future__ import annotations

from math import prod

import streamlit as st

from asi_core.costs.spectrum_ranks import ranks_of_spectra
from asi_core.figures.lessons.guess import plot_guessed_rank
from asi_core.figures.lessons.low_rank import ModeCut, plot_mode_energy, plot_picture
from asi_core.figures.pictures import PictureRow, plot_pictures
from asi_core.figures.style import Figure
from asi_core.methods.costs import capped_ranks, tucker_bytes
from asi_core.records import ELEMENT_BYTES
from asi_core.training.events import LayerProbe
from asi_core.units import format_bytes, times
from asi_core.zoo.cards import model_card
from dashboard.frame import Kpi, figure, kpi_row, short_percent
from dashboard.learn.controls import Controls
from dashboard.learn.evidence import ProbedRun, probed_run
from dashboard.learn.lesson import Lesson, Question, Reveal
from dashboard.learn.pictures import approximate, pictures, singular_values

_CHANNEL = 1
_SHARE, _PICTURE_SHARE = 0.8, 0.95
_FIRST_RANK, _MOST_TILES = 4, 4


def question() -> Question:
    run = probed_run()
    return _about_a_picture() if run is None else _about_channels(run)


def _about_channels(run: ProbedRun) -> Question:
    probe = _widest(run)
    size = probe.shape[_CHANNEL]
    directions = len(probe.singular_values[_CHANNEL])
    text = (
        f"The layer `{probe.name}` reads {_sizes(probe.shape)} numbers: "
        f"{', '.join(model_card(run.spec.model).mode_names)}. Lay its {size} channels out as the "
        f"rows of a matrix, one column for each position in each image. This matrix has "
        f"{directions} singular values; their squares are its energy.\n\n**How many of the "
        f"{directions} directions are needed to hold {short_percent(_SHARE)} of the energy?**"
    )
    start = max(1, directions // 4)
    return Question(text, "Directions", 1, directions, start, "directions")


def _about_a_picture() -> Question:
    name, picture = next(iter(pictures().items()))
    directions = min(picture.shape)
    text = (
        f"A grey picture of {_sizes(picture.shape)} pixels ({name}) is a matrix with "
        f"{directions} singular values; their squares are its energy.\n\n**How many directions are "
        f"needed to hold {short_percent(_PICTURE_SHARE)} of the energy?**"
    )
    return Question(text, "Directions", 1, directions, directions // 2, "directions")


def _widest(run: ProbedRun) -> LayerProbe:
    """The layer with the most channels, at the last probe."""
    return max(run.probes[run.steps[-1]].values(), key=lambda probe: probe.shape[_CHANNEL])


def picture() -> tuple[Figure, str]:
    """The layer's input, or else the picture."""
    found = probed_run()
    probe = None if found is None else _widest(found)
    if probe is None or (shown := probe.pictures) is None:
        name, values = next(iter(pictures().items()))
        plot = plot_pictures([PictureRow("", [values.tolist()])], [name], title="The picture")
        return plot, "Brightness of each pixel."
    tiles = shown.tiles(shown.before)[:_MOST_TILES]
    columns = [str(channel) for channel in shown.channels[: len(tiles)]]
    plot = plot_pictures([PictureRow("input", tiles)], columns, title="Channels of the first image")
    return plot, f"Measured: the {len(tiles)} channels of `{probe.name}` with the most energy."


def run(controls: Controls) -> None:
    found = probed_run()
    if found is None:
        st.info(
            "The precomputed run with the spectra of this lesson is missing from this "
            "installation. The lesson uses pictures instead; to see the spectra too, train the "
            "default comparison with ASI, its factors updated every step."
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
            hint="The trained layer whose input is shown.",
        )
    with columns[1]:
        step = controls.scale(
            "step",
            "Training step",
            found.steps,
            start=found.steps[-1],
            hint="Steps at which the layers were probed.",
        )
    with columns[2]:
        share = controls.slider(
            "explained_variance",
            "Explained variance",
            (0.3, 0.99),
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
        f"({found.origin}). The marks show where the dotted line is first reached.",
    )


def _kept(probe: LayerProbe, ranks: tuple[int, ...]) -> None:
    full = ELEMENT_BYTES * prod(probe.shape)
    kept = tucker_bytes(probe.shape, ranks, "exact")
    kpi_row(
        [
            Kpi("Ranks", _sizes(ranks), f"of {_sizes(probe.shape)}", "One per mode."),
            Kpi(
                "Kept",
                format_bytes(kept),
                f"{times(full / kept)} less than {format_bytes(full)}",
                "Formula: the core and one factor for each truncated mode.",
            ),
            Kpi(
                "Energy lost, at most",
                short_percent(min(1.0, lost_at_most(probe, ranks))),
                "all modes together",
                "The sum of the energies that the modes discard: HOSVD loses no more "
                "(De Lathauwer et al. 2000).",
            ),
        ]
    )


def lost_at_most(probe: LayerProbe, ranks: tuple[int, ...]) -> float:
    """Upper bound on the share of the energy that HOSVD loses: the sum over its modes."""
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
            (1, min(picture.shape)),
            start=_FIRST_RANK,
            hint="How many outer products of a column and a row are summed.",
        )
    close = approximate(picture, int(rank))
    st.markdown(
        f"##### Rank {rank:g} holds {short_percent(close.energy)} of the energy in "
        f"{close.numbers} instead of {picture.size} numbers; the error is "
        f"{short_percent(close.error)} of its norm"
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
        + (f" Measured at the last probe ({found.origin})." if found else " Computed here."),
        explanation="Singular vectors are directions, sorted by how much of the matrix lies along "
        "them. Where neighbouring pixels, channels and images resemble each other, few directions "
        "carry most of the energy, and a low-rank matrix made of these few is close to the whole. "
        "A layer's input has one such matrix for each mode: its unfolding. A Tucker form keeps a "
        "few directions of every mode and a small core that combines them. The explained variance "
        "sets how much energy each mode must keep; the ranks follow. Only the weight gradient is "
        "affected by what is discarded: the forward pass uses the whole input.",
    )


def _sizes(sizes: tuple[int, ...]) -> str:
    return " × ".join(map(str, sizes))


LESSON = Lesson(
    slug="low-rank",
    title="What low rank means",
    question=question,
    picture=picture,
    run=run,
    reveal=reveal,
    thought="A Tucker form is small only if **all** ranks are small. At which explained variance "
    "would core and factors take more numbers than the input itself?",
    hint="The core has the product of the ranks as its size, and each factor has size times rank. "
    "A mode at full rank needs no factor. Move the explained variance towards its end, or take a "
    "picture: at which rank do columns and rows take as many numbers as the pixels?",
)
