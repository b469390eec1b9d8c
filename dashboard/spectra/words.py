"""The page in words: its answer, its few numbers, and what its pictures show."""

from __future__ import annotations

from asi_core.costs.spectrum_ranks import ranks_of_spectra
from asi_core.training.events import LayerProbe
from asi_core.units import DASH, THIN_SPACE, three_digits
from asi_core.zoo.cards import model_card
from dashboard.frame import Kpi
from dashboard.spectra.choice import Subject
from dashboard.spectra.probes import SeenRun

# Names of the mode that the layer mixes, and of one of it.
_SINGULARS = {"channel": "channel", "features": "feature"}
_MEASURED = "Measured in the training step itself."


def mode_names(seen: SeenRun) -> tuple[str, ...]:
    """Names of the modes of the layers' inputs."""
    return model_card(seen.run.spec.model).mode_names


def channel_mode(names: tuple[str, ...]) -> int:
    """The mode that holds what the layer mixes: channels or features."""
    return next(mode for mode, name in enumerate(names) if name in _SINGULARS)


def percent(share: float) -> str:
    """A share, 0 to 1, in percent."""
    return f"{three_digits(100 * share)}{THIN_SPACE}%"


def answer_sentence(subject: Subject, share: float) -> str:
    """Why it can be small, of the chosen layer and step."""
    probe, names = subject.probe, mode_names(subject.chosen)
    few, count, kind = _few_of(probe, names, share)
    sentence = (
        f"{few} of {count} {kind} directions hold {percent(share)} of the energy of what "
        f"`{subject.layer}` receives at step {subject.step}"
    )
    if probe.captured_energy is None or probe.best_energy is None:
        return sentence + "."
    kept = f"{sentence}; with all modes cut, {subject.chosen.label} keeps"
    if probe.drift_degrees is None:
        return f"{kept} {percent(probe.captured_energy)}."
    return (
        f"{kept} {percent(probe.captured_energy)}, HOSVD at the same ranks would keep "
        f"{percent(probe.best_energy)}."
    )


def numbers(subject: Subject, share: float, probing: float | None) -> list[Kpi]:
    """The numbers that answer the question.

    Args:
        looking: what probes took as a share of what the steps took.
    """
    probe, chosen = subject.probe, subject.chosen
    few, count, kind = _few_of(probe, mode_names(chosen), share)
    return [
        Kpi(
            f"Directions for {percent(share)}",
            f"{few} of {count}",
            help=f"As many singular values of the {kind} mode as reach that share of the energy "
            "(the sum of their squares). There are as many as the unfolding's shorter side is "
            f"long. {_MEASURED}",
        ),
        _kept(probe, chosen),
        _gradient(probe, chosen),
        Kpi(
            "Probing overhead",
            DASH if probing is None else percent(probing),
            note="of all steps",
            help="What all looks of this run took, as a share of what its training steps took. "
            "Looking is no part of the step: the steps' own times leave it out.",
        ),
    ]


def _kept(probe: LayerProbe, chosen: SeenRun) -> Kpi:
    helped = (
        "Share of the squared norm of the layer's input that is in what the method keeps. HOSVD, "
        "which decomposes every input anew, keeps nearly the most that is possible at given ranks. "
        f"{_MEASURED}"
    )
    label = f"Energy kept by {chosen.label}"
    if probe.captured_energy is not None and probe.best_energy is not None:
        best = f"HOSVD: {percent(probe.best_energy)}"
        return Kpi(label, percent(probe.captured_energy), best, helped)
    # What keeps no subspaces says itself what it keeps.
    method = chosen.run.spec.method
    value = DASH if method.kept_energy is None else percent(method.kept_energy)
    return Kpi(label, value, method.kept, helped)


def _gradient(probe: LayerProbe, chosen: SeenRun) -> Kpi:
    helped = (
        "Cosine between the weight gradient that the run used and the exact one for the same "
        f"output gradient: 1 is the same direction, 0 a right angle. {_MEASURED}"
    )
    cosine = probe.gradient_cosine
    if cosine is None:
        return Kpi("Gradient", "exact", "no approximation", helped)
    return Kpi("Gradient cosine", f"{cosine:.3f}", "1 is exact", helped)


def _few_of(probe: LayerProbe, names: tuple[str, ...], share: float) -> tuple[str, str, str]:
    """How many of how many directions of the channel mode, and what a channel is called."""
    mode = channel_mode(names)
    values = probe.singular_values[mode]
    rank = ranks_of_spectra([values], share)[0]
    return three_digits(rank), three_digits(len(values)), _SINGULARS[names[mode]]
