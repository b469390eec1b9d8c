"""The page's answer and key numbers."""

from __future__ import annotations

from asi_core.costs.spectrum_ranks import ranks_of_spectra
from asi_core.training.events import LayerProbe
from asi_core.units import DASH, three_digits
from dashboard.frame import Kpi, short_percent
from dashboard.spectra.choice import Subject
from dashboard.spectra.probes import SeenRun

# The name of the mode that the layer mixes -> its singular.
_SINGULARS = {"channel": "channel", "features": "feature"}
_MEASURED = "Measured in the training step itself."


def mode_names(seen: SeenRun, probe: LayerProbe) -> tuple[str, ...]:
    """Names of the modes of a probed layer's input."""
    return seen.run.spec.mode_names(probe.name, len(probe.shape))


def channel_mode(names: tuple[str, ...]) -> int:
    """The mode that the layer mixes: channels or features."""
    return next(mode for mode, name in enumerate(names) if name in _SINGULARS)


def answer_sentence(subject: Subject, share: float) -> str:
    """How few directions hold most of the energy, in the chosen layer and step."""
    probe = subject.probe
    names = mode_names(subject.chosen, probe)
    few, count, kind = _few_of(probe, names, share)
    sentence = (
        f"{few} of {count} {kind} directions hold {short_percent(share)} of the energy of the "
        f"input of `{subject.layer}` at step {subject.step}"
    )
    if probe.captured_energy is None or probe.best_energy is None:
        return sentence + "."
    kept = f"{sentence}; with all modes truncated, {subject.chosen.label} keeps"
    if probe.drift_degrees is None:
        return f"{kept} {short_percent(probe.captured_energy)}."
    return (
        f"{kept} {short_percent(probe.captured_energy)}, HOSVD at the same ranks would keep "
        f"{short_percent(probe.best_energy)}."
    )


def numbers(subject: Subject, share: float, probing: float | None) -> list[Kpi]:
    """The key numbers; `probing` is the time of all probes relative to that of all steps."""
    probe, chosen = subject.probe, subject.chosen
    few, count, kind = _few_of(probe, mode_names(chosen, probe), share)
    return [
        Kpi(
            f"Directions for {short_percent(share)}",
            f"{few} of {count}",
            help=f"How many singular values of the {kind} mode reach that share of the energy (the "
            f"sum of their squares), and how many there are. {_MEASURED}",
        ),
        _kept(probe, chosen),
        _gradient(probe, chosen),
        Kpi(
            "Probing overhead",
            DASH if probing is None else short_percent(probing),
            note="of the step time",
            help="The time of all probes of this run relative to that of its training steps. Step "
            "times do not include probing.",
        ),
    ]


def _kept(probe: LayerProbe, chosen: SeenRun) -> Kpi:
    helped = (
        "Share of the squared norm of the layer's input that the method keeps. HOSVD, which "
        f"decomposes every input from scratch, is close to the optimum at given ranks. {_MEASURED}"
    )
    label = f"Energy kept by {chosen.label}"
    if probe.captured_energy is not None and probe.best_energy is not None:
        best = f"HOSVD: {short_percent(probe.best_energy)}"
        return Kpi(label, short_percent(probe.captured_energy), best, helped)
    # Methods without subspaces describe what they keep.
    method = chosen.run.spec.method
    value = DASH if method.kept_energy is None else short_percent(method.kept_energy)
    return Kpi(label, value, method.kept, helped)


def _gradient(probe: LayerProbe, chosen: SeenRun) -> Kpi:
    helped = (
        "Cosine between the weight gradient in use and the exact one for the same output gradient: "
        f"1 is the same direction, 0 a right angle. {_MEASURED}"
    )
    cosine = probe.gradient_cosine
    if cosine is None:
        return Kpi("Gradient", "exact", "no approximation", helped)
    return Kpi("Gradient cosine", f"{cosine:.3f}", "1 is exact", helped)


def _few_of(probe: LayerProbe, names: tuple[str, ...], share: float) -> tuple[str, str, str]:
    """The number of directions needed in the channel mode, how many there are, and their name."""
    mode = channel_mode(names)
    values = probe.singular_values[mode]
    rank = ranks_of_spectra([values], share)[0]
    return three_digits(rank), three_digits(len(values)), _SINGULARS[names[mode]]
