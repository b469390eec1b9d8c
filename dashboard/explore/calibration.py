"""Spectra that are already known, for ranks from an explained variance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from asi_core.methods import Vanilla
from asi_core.planning import LayerProfile, profiles_from_dict
from asi_core.training.spec import RunSpec
from asi_core.units import last_layers
from asi_core.zoo.cards import model_card
from asi_core.zoo.weights import weights_fingerprint
from dashboard import services
from dashboard.explore.settings import ExploreSettings
from dashboard.jobs import job_panel


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a calibration found, by layer name. Two are the same only if they are one object."""

    profiles: dict[str, LayerProfile]


def known_calibration(settings: ExploreSettings) -> Calibration | None:
    """A calibration of these layers, or of more; None if there is none, or none is asked for.

    A layer's input before the first step does not depend on how many layers are trained.
    """
    if settings.explained_variance is None:
        return None
    asked = settings.run_spec(Vanilla())
    larger = range(settings.layers, settings.card.layer_count + 1)
    return _first_known([asked.model_copy(update={"layers": layers}) for layers in larger])


def is_unknown(settings: ExploreSettings, calibration: Calibration | None) -> bool:
    """Whether a calibration is asked for that nobody has made."""
    return settings.explained_variance is not None and calibration is None


def calibration_panel(settings: ExploreSettings) -> None:
    """Say that the spectra are unknown, and offer to find them."""
    st.info(
        f"The ranks at {settings.explained_variance:g} explained variance depend on the images, "
        f"and nobody has looked yet at {last_layers(settings.layers)} of {settings.card.title} at "
        f"batch {settings.batch_size} and {settings.image_size} px: calibrate once, or give ranks "
        "instead.",
        icon=":material/info:",
    )
    job_panel(
        "calibrate",
        settings.run_spec(Vanilla()),
        button="Calibrate these layers",
        key="explore-calibrate",
    )


def _first_known(specs: Sequence[RunSpec]) -> Calibration | None:
    """What the store has of the first of these that it has any of.

    It is remembered: the same specification has the same answer while the weights are the same.
    """
    memory, weights = _memory(), weights_fingerprint(model_card(specs[0].model))
    if not any((spec, weights) in memory for spec in specs):
        answers = services.jobs().answers("calibrate", specs)
        for spec in specs:
            if spec in answers and (result := answers[spec].result) is not None:
                found = Calibration({p.name: p for p in profiles_from_dict(result)})
                memory[spec, weights] = found
                break
    return next((memory[spec, weights] for spec in specs if (spec, weights) in memory), None)


@st.cache_resource(show_spinner=False)
def _memory() -> dict[tuple[RunSpec, str], Calibration]:
    return {}
