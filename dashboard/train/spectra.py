"""The spectra of one trained layer below the curves, as a preview of the Spectra page."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from asi_core.figures.spectra import Cut, SpectrumRows, plot_spectra
from asi_core.runs.records import RunRecord
from asi_core.training.events import LayerProbe
from dashboard.drawings import drawings
from dashboard.feed import RunFeed, run_style
from dashboard.frame import URL, figure
from dashboard.history import run_labels

_MEASURED = "Measured in the training step itself."
_BOXES = ("spectrum_layer", "spectrum_step")
_SHOWN = "spectra-comparison-shown"


def layer_spectra(runs: list[RunRecord], feeds: list[RunFeed]) -> None:
    """Draw the spectra of the chosen layer and step, if there are any yet."""
    probed = [(run, feed) for run, feed in zip(runs, feeds, strict=True) if feed.probes]
    if not probed:
        return
    _forget_other_comparison(runs[0].comparison)
    st.markdown("##### Why activations compress: spectra of the layers' inputs")
    # Preferably a run with ranks, which has the most to show.
    source = next((feed for run, feed in probed if run.spec.method.has_ranks), probed[0][1])
    steps = sorted(source.probes)
    names = list(source.probes[steps[0]])
    left, right = st.columns(2)
    name = left.selectbox("Layer", names, key="spectrum_layer", help="In forward order.", **URL)
    step = _step(right, steps, is_active=any(run.is_active for run in runs))
    probe = source.probes[step][name]
    cuts = [
        Cut(label, run_style(run), layer.ranks)
        for run, feed, label in zip(runs, feeds, run_labels(runs), strict=True)
        if (layer := feed.probes.get(step, {}).get(name)) is not None and layer.ranks is not None
    ]
    modes = runs[0].spec.mode_names(name, len(probe.shape))
    spectrum = SpectrumRows(probe.shape, probe.singular_values, modes)
    drawing = drawings.get(("spectra", spectrum, *cuts), lambda: plot_spectra(spectrum, cuts))
    message = _what_was_kept(probe, step) if probe.captured_energy is not None else _MEASURED
    figure(drawing, key="train-spectra", caption=message)


def _forget_other_comparison(comparison: str) -> None:
    """Layer and step that were chosen in the comparison shown before are not of this one."""
    before = st.session_state.get(_SHOWN, comparison)
    st.session_state[_SHOWN] = comparison
    if before != comparison:
        for key in _BOXES:
            st.session_state.pop(key, None)
            st.query_params.pop(key, None)


def _step(place: DeltaGenerator, steps: list[int], *, is_active: bool) -> int:
    """The chosen step; by default the newest, which changes while runs are active."""
    if len(steps) == 1:
        return steps[0]
    bound = {} if is_active else {"key": "spectrum_step", **URL}
    step: int = place.select_slider(
        "Step", steps, value=steps[-1], help="Steps at which the layers were probed.", **bound
    )
    return step


def _what_was_kept(probe: LayerProbe, step: int) -> str:
    """One layer's probe in words."""
    assert probe.captured_energy is not None
    size = " × ".join(map(str, probe.shape))
    message = [
        f"At step {step} the compressed form holds {100 * probe.captured_energy:.1f} % of the "
        f"energy of this layer's input ({size})"
    ]
    if probe.best_energy is not None:
        message.append(f"HOSVD would hold {100 * probe.best_energy:.1f} % at the same ranks")
    if probe.gradient_cosine is not None:
        message.append(
            f"the weight gradient's cosine to the exact one is {probe.gradient_cosine:.3f}"
        )
    # The batch mode is left out: every batch has other images.
    turned = [degrees for degrees in (probe.drift_degrees or ())[1:] if degrees is not None]
    if turned:
        message.append(
            "since the previous step, the largest turn of a subspace (except batch) is "
            f"{max(turned):.0f}°"
        )
    return "; ".join(message) + ". All measured."
