"""The chosen input as images, before and after compression."""

from __future__ import annotations

import streamlit as st

from asi_core.figures.pictures import PictureRow, plot_pictures
from asi_core.training.pictures import LayerPictures
from dashboard.frame import figure
from dashboard.spectra.choice import Subject
from dashboard.spectra.words import channel_mode, mode_names


def show_images(subject: Subject) -> None:
    """The strongest channels of the first image, and their reconstruction by each method."""
    st.subheader("Input before and after compression", divider="gray")
    shown = subject.probe.pictures
    if shown is None:
        st.info(_why_none(len(subject.probe.shape)))
        return
    rows = [PictureRow("input", shown.tiles(shown.before)), *_rebuilt(subject, shown)]
    name = _channel_name(subject)
    columns = [f"{name}s"] if shown.is_tokens else [str(channel) for channel in shown.channels]
    plot = plot_pictures(rows, columns, title=f"First image of the batch, by {name}")
    figure(plot, key="pictures", caption=_what_pictures_show(subject, shown, len(rows) == 1))


def _why_none(modes: int) -> str:
    if modes not in (3, 4):
        return f"An input with {modes} modes has no picture: its spectra show what it holds."
    return "This run was probed before pictures were stored: train it again to see them."


def _rebuilt(subject: Subject, shown: LayerPictures) -> list[PictureRow]:
    """Reconstructions by the chosen run, and by other runs that had exactly the same input."""
    probes = [(run, run.probe(subject.step, subject.layer)) for run in subject.peers]
    pictures = [(run, probe.pictures) for run, probe in probes if probe is not None]
    return [
        PictureRow(run.label, theirs.tiles(theirs.after))
        for run, theirs in pictures
        if theirs is not None
        and theirs.after is not None
        and (run is subject.chosen or theirs.before == shown.before)
    ]


def _what_pictures_show(subject: Subject, shown: LayerPictures, alone: bool) -> str:
    height, width = shown.size
    what = (
        f"Measured: the {len(shown.channels)} {_channel_name(subject)}s with the most energy in "
        f"the input of the first image ({height} × {width} values each)"
    )
    if not alone:
        return (
            f"{what}, and their reconstruction from the form kept for the weight gradient. Runs "
            "with a different input at this step are left out."
        )
    return f"{what}. {subject.chosen.run.spec.method.why_no_picture}"


def _channel_name(subject: Subject) -> str:
    names = mode_names(subject.chosen, subject.probe)
    return names[channel_mode(names)].removesuffix("s")
