"""The tables behind the claims, each with the runs that it comes from."""

from __future__ import annotations

from statistics import fmean

from asi_core.results.poster_study import (
    PAPER_MACS,
    Setting,
    at_equal_accuracy,
    label,
    method_label,
)
from asi_core.training.events import ProbeEvent
from studies.poster.study import (
    GIGA,
    KIB,
    Study,
    at_accuracy,
    cases,
    kept,
    names,
    percent,
    ratio,
    seconds,
    share,
    speeds,
    table,
)

SMALL_DEVICE_BYTES = 256 * KIB


def accuracy(study: Study) -> str:
    header = ("method", *(f"k = {k}" for k in study.depths), "runs")
    rows: list[tuple[str, ...]] = []
    for title, curve in study.series.items():
        cells = [percent(study.at(curve, k)) for k in study.depths]
        rows.append((title, *cells, names(run for s in curve for run in s.runs)))
    head = f"The linear probe reaches {percent(study.head)} ({names(study.head.runs)})."
    return f"Test accuracy, percent.\n\n{table(header, rows)}\n\n{head}"


def memory(study: Study) -> str:
    parts = []
    for name, message in (
        ("activation_bytes", "By formula, of the trained layers' inputs, KiB (times less)"),
        ("saved_bytes", "Measured, of the whole trained part with lean layers, KiB (times less)"),
    ):
        rows = []
        for title, curve in study.series.items():
            cells = []
            for k in study.depths:
                value = fmean(study.at(curve, k).prices(name))
                plain = fmean(study.at(study.vanilla, k).prices(name))
                cells.append(f"{value / KIB:.1f} ({plain / value:.0f})")
            rows.append((title, *cells))
        header = ("method", *(f"k = {k}" for k in study.depths))
        parts.append(f"{message}:\n\n{table(header, rows)}")
    return "\n\n".join(parts)


def cost(study: Study) -> str:
    parts = []
    for name, message, scale, digits in (
        (PAPER_MACS, "By the paper's count, 1e9 multiply-accumulates", GIGA, 2),
        ("macs", "Exact, 1e9 multiply-accumulates", GIGA, 3),
        ("step_seconds", "Measured, milliseconds (medians)", 1e-3, 1),
    ):
        header = ("method", *(f"k = {k}" for k in study.depths))
        rows = [
            (
                title,
                *(
                    f"{fmean(study.at(curve, k).prices(name)) / scale:.{digits}f}"
                    for k in study.depths
                ),
            )
            for title, curve in study.series.items()
        ]
        parts.append(f"{message}:\n\n{table(header, rows)}")
    rows = [
        (
            title,
            *(
                f"{1e3 * seconds(study.at(curve, k), 'forward_median'):.1f} + "
                f"{1e3 * seconds(study.at(curve, k), 'backward_median'):.1f}"
                for k in study.depths
            ),
        )
        for title, curve in study.series.items()
    ]
    header = ("method", *(f"k = {k}" for k in study.depths))
    parts.append(f"Forward + backward, milliseconds (medians):\n\n{table(header, rows)}")
    return "\n\n".join(parts) + (
        "\n\nTimes are from consecutive runs on a shared machine; docs/performance.md has "
        "alternating steps. The exact count is small compared to the paper's, because most of "
        "these convolutions are depthwise, and because it includes the input gradients."
    )


def equal(study: Study) -> str:
    text = (
        "Both curves over k are read at the accuracy that vanilla reaches with each k: the ratio "
        "is the lowest price at which vanilla reaches it over the lowest price of the method, "
        "interpolated between neighbouring k in the logarithm of the price. In brackets are the "
        "minimum and the maximum over the three seeds, each with separate curves, and how many "
        "seeds reach the accuracy at all. The mean curves may reach it where some seeds do not, "
        "with another ratio. Accuracies less than a point above the linear probe are left out: "
        "there, training layers gains nothing, and ratios are arbitrarily large."
    )
    parts = [text]
    for name, message in (
        ("activation_bytes", "Activation memory, by formula"),
        ("saved_bytes", "All bytes kept for backward, measured"),
        (PAPER_MACS, "Multiplies of a step, by the paper's count"),
        ("macs", "Multiplies of a step, exact"),
    ):
        compared = {
            title: at_equal_accuracy(study.vanilla, curve, name)
            for title, curve in study.series.items()
            if title != label(study.vanilla[0])
        }
        floor = study.floor
        shown = [n for n, v in enumerate(study.vanilla) if fmean(v.prices("accuracy")) > floor]
        header = ("method", *(at_accuracy(study.vanilla[n]) for n in shown))
        rows = [(title, *(ratio(found[n]) for n in shown)) for title, found in compared.items()]
        parts.append(f"{message}:\n\n{table(header, rows)}")
    return "\n\n".join(parts)


def better(study: Study) -> str:
    depth = study.settings[0].layers
    here = [s for s in study.curves if s.layers == depth]
    rows = []
    plain = study.at(study.vanilla, depth)
    with_momentum = next(
        s for s in study.settings if s.method.kind == "vanilla" and s.runs[0].spec.momentum
    )
    for setting in sorted((*here, *study.settings), key=kept):
        same = with_momentum if setting.runs[0].spec.momentum else plain
        lost = fmean(setting.prices("accuracy")) - fmean(same.prices("accuracy"))
        rows.append(
            (
                label(setting),
                f"{kept(setting) / KIB:.1f}",
                f"{kept(plain) / kept(setting):.0f}",
                percent(setting),
                f"{100 * lost:+.1f}",
                f"{1e3 * fmean(setting.prices('step_seconds')):.1f}",
                names(setting.runs),
            )
        )
    header = ("k = 4", "KiB by formula", "times less", "accuracy", "to vanilla", "ms", "runs")
    return (
        'All settings tried at k = 4, the smallest first; "to vanilla" is the difference in points '
        "to vanilla with the same momentum.\n\n"
        f"{table(header, rows)}\n\n{_recommendation(study, plain)}"
    )


def _recommendation(study: Study, plain: Setting) -> str:
    """The most accurate setting with at most a fiftieth of the bytes, by the published recipe."""
    settings = (*study.settings, *(s for s in study.curves if s.layers == plain.layers))
    asi = [s for s in settings if s.method.kind == "asi" and not s.runs[0].spec.momentum]
    small = [s for s in asi if kept(s) <= kept(plain) / 50]

    def accuracy(setting: Setting) -> float:
        return 100 * fmean(setting.prices("accuracy"))

    best = max(small, key=accuracy)
    published = study.at(study.published, plain.layers)
    return (
        f"**Of the settings that keep at most a fiftieth, {label(best)} is the most accurate**: "
        f"{accuracy(best) - accuracy(plain):+.1f} points to vanilla; the published setting "
        f"({label(published)}) is {accuracy(published) - accuracy(plain):+.1f} points."
    )


def drifts(study: Study) -> str:
    rows = []
    for run in study.drift:
        probes = [e for e in study.store.events(run.id, "probe") if isinstance(e, ProbeEvent)]
        for layer in probes[-1].layers:
            entries = [next(at for at in probe.layers if at.name == layer.name) for probe in probes]
            angles = [
                max(angle for angle in probe.drift_degrees[1:] if angle is not None)
                for probe in entries
                if probe.drift_degrees and any(a is not None for a in probe.drift_degrees[1:])
            ]
            first, last = entries[0], entries[-1]
            rows.append(
                (
                    method_label(run.spec.method),
                    layer.name,
                    "·".join(map(str, last.ranks or ())),
                    share(first.captured_energy),
                    share(last.captured_energy),
                    share(last.best_energy),
                    f"{fmean(angles):.0f}°" if angles else "–",
                    "–" if last.gradient_cosine is None else f"{last.gradient_cosine:.3f}",
                    run.id.removeprefix("example-poster-"),
                )
            )
    header = (
        *("method", "layer", "last ranks", "energy, first", "energy, last", "best, last"),
        *("mean angle", "gradient cosine, last", "run"),
    )
    return (
        "Two runs at k = 4, probed every 30 steps. Energy is the share of the input's squared norm "
        'that the method keeps; "best" is that of HOSVD at the same ranks; the angle is '
        "the largest principal angle between the subspaces of two steps, over all modes except the "
        "batch mode, which has new images every time; the "
        f"cosine is between the weight gradient and the exact one.\n\n{table(header, rows)}"
    )


def small(study: Study) -> str:
    asi = next(s for s in study.small if s.method.kind == "asi")
    vanilla = next(s for s in study.small if s.method.kind == "vanilla")
    job = study.jobs.latest("measure", asi.runs[0].spec, "completed")
    plain = study.jobs.latest("measure", vanilla.runs[0].spec, "completed")
    assert job is not None
    assert job.result is not None
    assert plain is not None
    assert plain.result is not None
    saved, batch = job.result["saved_bytes"], asi.runs[0].spec.batch_size
    assert saved["total"] <= SMALL_DEVICE_BYTES
    assert job.result["meters_agree"]
    usual = next(s for s in study.settings if _alike(s, asi))
    usual_job = study.jobs.latest("measure", usual.runs[0].spec, "completed")
    assert usual_job is not None
    assert usual_job.result is not None
    same = next(s for s in study.settings if s.method.kind == "vanilla" and s.runs[0].spec.momentum)
    rows = [(name, f"{value}") for name, value in saved["by_category"].items()]
    lost = _points(asi, vanilla)
    weights = study.prepared(asi.runs[0]).trained_parameters
    return (
        f"The last {asi.layers} convolutions and the classifier, trained with {label(asi)} at "
        f"batch {batch}, the largest that fits: all that the trained part "
        f"keeps for backward is {saved['total']} bytes of {SMALL_DEVICE_BYTES}, by both meters; "
        f"vanilla keeps {plain.result['compared_bytes']['vanilla']} with PyTorch's own layers. "
        f"Accuracy "
        f"{percent(asi)} ({names(asi.runs)}) against vanilla's {percent(vanilla)} "
        f"({names(vanilla.runs)}) at the same batch: {lost:+.2f} points. At batch "
        f"{usual.runs[0].spec.batch_size} it keeps {usual_job.result['saved_bytes']['total']} "
        f"bytes and reaches {percent(usual)} ({names(usual.runs)}) against {percent(same)} "
        f"({names(same.runs)}): {_points(usual, same):+.2f} points.\n\n"
        f"{table(('kept for', 'bytes'), rows)}\n\n"
        f"In addition, in single precision: {weights} trained numbers are {4 * weights} bytes of "
        f"weights, as much for their gradients, and as much again for momentum if it is used. "
        "The ranks are found once, on the first batch. Temporary tensors of a step "
        "are not kept, and not counted here."
    )


def _alike(one: Setting, other: Setting) -> bool:
    """Whether they differ at most in their batch."""
    specs = [setting.runs[0].spec.model_copy(update={"batch_size": 1}) for setting in (one, other)]
    return specs[0] == specs[1]


def _points(one: Setting, other: Setting) -> float:
    return 100 * (fmean(one.prices("accuracy")) - fmean(other.prices("accuracy")))


def others() -> str:
    rows = [
        (
            case["model"],
            str(case["layers"]),
            *(f"{case['ratio'][way]:.2f}" for way in ("asi", "asi_refreshed")),
            f"{case['limit']:.2f}",
        )
        for case in cases()
    ]
    header = ("network", "k", "ASI", "refreshed every 4 steps", "limit")
    return (
        "Vanilla's step over ASI's at 224 pixels, batch 64, ranks 16 x 32 x 4 x 4, random weights: "
        "geometry only, as their ImageNet weights are not available. The limit is the time that "
        "multiplies alone would allow, if weight gradients were free. From docs/performance.json, "
        "where all configurations of a case alternate, on "
        f"{speeds()[0].machine}.\n\n{table(header, rows)}"
    )
