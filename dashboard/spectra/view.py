"""The parts of the page, redrawn while runs are active or steps are played."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from asi_core.costs.spectrum_ranks import ranks_of_spectra
from asi_core.figures.spectra import explained_percent
from asi_core.runs.records import RunRecord
from dashboard import services
from dashboard.frame import answer, kpi_row, short_percent
from dashboard.left_out import left_out_of, tell_left_out
from dashboard.links import put
from dashboard.reproduce import reproduce_panel
from dashboard.spectra.choice import Subject, choose_subject, with_layers
from dashboard.spectra.images import show_images
from dashboard.spectra.modes import choose_style, show_first_modes, show_other_modes
from dashboard.spectra.probes import cuts, probe_share
from dashboard.spectra.progress import show_progress
from dashboard.spectra.words import answer_sentence, mode_names, numbers
from dashboard.tables import table

_ACTIVE_SECONDS, _PLAYING_SECONDS = 6.0, 1.0


def show(comparison: Sequence[RunRecord]) -> None:
    """Draw a comparison, again and again while runs are active or steps are played."""
    pace = _pace(comparison)
    st.fragment(_body, run_every=pace)(comparison[0].comparison, pace)


def _pace(comparison: Sequence[RunRecord]) -> float | None:
    if st.session_state.get("play"):
        return _PLAYING_SECONDS
    return _ACTIVE_SECONDS if any(run.is_active for run in comparison) else None


def _body(name: str, pace: float | None) -> None:
    comparison = services.store().comparison(name)
    if _pace(comparison) != pace:
        st.rerun()
    _advance()
    tell_left_out(left_out_of(name, with_layers(comparison)))
    chosen, top, below = st.container(), st.container(), st.container()
    with chosen:
        subject = choose_subject(comparison, below)
    if subject is None:
        return
    st.session_state["steps_to_play"] = subject.chosen.steps
    with below:
        style = choose_style()
    with top:
        answer(answer_sentence(subject, style.share))
        show_first_modes(subject, style)
    show_other_modes(subject, style)
    kpi_row(numbers(subject, style.share, probe_share(subject.chosen)))
    show_images(subject)
    show_progress(subject)
    _details(subject, style.share)


def _advance() -> None:
    """Move to the next step if steps are played; called before the slider is drawn."""
    steps: list[int] = st.session_state.get("steps_to_play", [])
    if not st.session_state.get("play") or not steps:
        return
    now = st.session_state.get("step", steps[-1])
    put("step", next((step for step in steps if step > now), steps[0]))


def _details(subject: Subject, share: float) -> None:
    with st.expander("All numbers of this layer and step", icon=":material/table:"):
        table(
            pd.DataFrame(_rows(subject, share)),
            key="modes",
            caption="Measured. Energies are those of single modes; all modes together keep less.",
        )
    specs = [run.run.spec for run in subject.peers]
    reproduce_panel(specs, [run.label for run in subject.peers], key="spectra")


def _rows(subject: Subject, share: float) -> list[dict[str, Any]]:
    probe = subject.probe
    names = mode_names(subject.chosen, probe)
    needed = ranks_of_spectra(probe.singular_values, share)
    rows = []
    for mode, name in enumerate(names):
        explained = explained_percent(probe.singular_values[mode])
        row: dict[str, Any] = {
            "mode": name,
            "size": probe.shape[mode],
            "directions": len(probe.singular_values[mode]),
            f"rank for {short_percent(share)}": needed[mode],
        }
        for cut in cuts(subject.peers, subject.step, subject.layer):
            rank = cut.ranks[mode]
            row[f"{cut.label}: rank"] = rank
            row[f"{cut.label}: energy, %"] = round(
                float(explained[min(rank, len(explained)) - 1]), 2
            )
        rows.append(row)
    return rows
