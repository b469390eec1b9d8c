"""Known calibrations, for ranks from an explained variance."""

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
from dashboard.plain import plain


@dataclass(frozen=True, eq=False)
class Calibration:
    """A calibration's profiles by layer name. Compared by identity."""

    profiles: dict[str, LayerProfile]


def known_calibration(settings: ExploreSettings) -> Calibration | None:
    """A calibration of at least these layers; None if there is none or none is needed.

    A layer's input before the first step does not depend on how many layers are trained.
    """
    if settings.explained_variance is None:
        return None
    spec = settings.run_spec(Vanilla())
    if isinstance(settings.layers, str):
        return _first_known([spec])
    larger = range(settings.layers, settings.card.layer_count + 1)
    return _first_known([spec.model_copy(update={"layers": layers}) for layers in larger])


def is_unknown(settings: ExploreSettings, calibration: Calibration | None) -> bool:
    """Whether a calibration is needed and missing."""
    return settings.explained_variance is not None and calibration is None


def calibration_panel(settings: ExploreSettings) -> None:
    """Report that the spectra are unknown, and offer a calibration."""
    st.info(
        f"The ranks at {settings.explained_variance:g} explained variance depend on the images, "
        f"and there is no calibration yet of {plain(last_layers(settings.layers))} of "
        f"{settings.card.title} at batch size {settings.batch_size} and {settings.image_size} px: "
        "calibrate once, or enter ranks instead.",
        icon=":material/info:",
    )
    job_panel(
        "calibrate",
        settings.run_spec(Vanilla()),
        button="Calibrate these layers",
        key="explore-calibrate",
    )


def _first_known(specs: Sequence[RunSpec]) -> Calibration | None:
    """The stored calibration of the first specification that has one, cached by specification and
    weights."""
    cache, weights = _cache(), weights_fingerprint(model_card(specs[0].model))
    if not any((spec, weights) in cache for spec in specs):
        results = services.jobs().answers("calibrate", specs)
        for spec in specs:
            if spec in results and (result := results[spec].result) is not None:
                found = Calibration({p.name: p for p in profiles_from_dict(result)})
                cache[spec, weights] = found
                break
    return next((cache[spec, weights] for spec in specs if (spec, weights) in cache), None)


@st.cache_resource(show_spinner=False)
def _cache() -> dict[tuple[RunSpec, str], Calibration]:
    return {}
