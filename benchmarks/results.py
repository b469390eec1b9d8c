"""Write docs/results.md from the poster's study as the store has it.

    python -m benchmarks.results

The store is the app's own, to which the shipped runs come at its start; nothing is measured here.
Every figure is one of a run, named beside it: `example-poster-curves-0` is opened on Compare under
that name. Step times of other networks are those of docs/performance.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from asi_core.runs.example_jobs import import_example_jobs  # noqa: E402
from asi_core.runs.examples import SHIPPED_FOLDER, import_examples  # noqa: E402
from asi_core.runs.jobs import JobStore  # noqa: E402
from asi_core.runs.poster_study import (  # noqa: E402
    CURVES,
    DRIFT,
    PAPER_MACS,
    SETTINGS,
    SMALL,
    AtEqualAccuracy,
    Setting,
    at_equal_accuracy,
    label,
    series,
    study_settings,
)
from asi_core.runs.records import RunRecord  # noqa: E402
from asi_core.runs.store import RunStore  # noqa: E402
from asi_core.settings import read_settings  # noqa: E402
from asi_core.training.events import PreparedEvent, ProbeEvent  # noqa: E402

TARGET = ROOT / "docs" / "results.md"
PERFORMANCE = ROOT / "docs" / "performance.json"
KIB, GIGA = 1024, 1e9
SMALL_DEVICE_BYTES = 256 * KIB
CLAIMED_MEMORY, CLAIMED_COST, CLAIMED_TIME = 120.09, 1.86, 1.5


class Study:
    """What the store has of it."""

    def __init__(self, store: RunStore, jobs: JobStore) -> None:
        self.store, self.jobs = store, jobs
        self.curves = study_settings(store, CURVES)
        self.settings = study_settings(store, SETTINGS)
        self.small = study_settings(store, SMALL)
        self.drift = store.comparison(DRIFT)
        self.series = series(self.curves)
        self.head = next(s for s in self.curves if not s.layers)
        self.depths = sorted({s.layers for s in self.curves if s.layers})

    def of(self, kind: str) -> list[list[Setting]]:
        """The series of a method."""
        return [each for each in self.series.values() if each[0].method.kind == kind]

    @property
    def vanilla(self) -> list[Setting]:
        (found,) = self.of("vanilla")
        return found

    @property
    def published(self) -> list[Setting]:
        """ASI as in the paper, first of its series."""
        return self.of("asi")[0]

    def at(self, curve: Sequence[Setting], layers: int) -> Setting:
        return next(s for s in curve if s.layers == layers)


def document(study: Study) -> str:
    """The whole of docs/results.md."""
    return "\n\n".join(
        (
            _head(study),
            "## The claims",
            _claims(study),
            "## Accuracy over trained layers",
            _accuracy(study),
            "## Bytes kept for backward",
            _memory(study),
            "## Multiplies and time of a step",
            _cost(study),
            "## At equal accuracy",
            _equal(study),
            "## What is better than the published settings",
            _better(study),
            "## Subspaces while training",
            _drifts(study),
            "## 256 KB",
            _small(study),
            "## Other networks",
            _others(),
            "",
        )
    )


# Parts --------------------------------------------------------------------------------------------


def _head(study: Study) -> str:
    spec = study.vanilla[0].runs[0].spec
    runs = [run for s in (*study.curves, *study.settings, *study.small) for run in s.runs]
    return f"""# The poster's claims, tested

MCUNet-in1, pretrained on ImageNet, fine-tuned on CIFAR-10: 10 000 of its training and 2 000 of its
test images (a tenth and a fifth of each), {spec.image_size} pixels, batch {spec.batch_size},
{spec.steps} steps, with the recipe of ASI's authors (SGD at {spec.learning_rate:g}, cosine to a
tenth, weight decay {spec.weight_decay:g}, gradients clipped at {spec.clip_norm:g}, no momentum)
unless a row says otherwise. The last k convolutions and a new classifier are trained, with three
seeds: figures are means, with the sample's deviation after ±. {len(runs) + len(study.drift)} runs
({_device(study, runs[0])}). In tables, "c 0, 37, 74" are the runs `example-poster-curves-0`, `-37` and `-74`, which Compare shows
(s: `settings`, m: `small`).

This is no repetition of the poster's experiment: fewer images, fewer steps. What is compared is
compared under the same conditions. Written by `python -m benchmarks.results` from the store; the
runs are made by `python -m benchmarks.poster --ship`."""


def _device(study: Study, run: RunRecord) -> str:
    (prepared,) = study.store.events(run.id, "prepared")
    assert isinstance(prepared, PreparedEvent)
    return f"{prepared.device}, {prepared.threads} threads"


def _claims(study: Study) -> str:
    rows = [
        (
            "At the same accuracy 120.09 times less activation memory than vanilla",
            *_best_ratio(study, "activation_bytes", CLAIMED_MEMORY),
        ),
        (
            "At the same accuracy 1.86 times cheaper (its count of multiplies)",
            *_best_ratio(study, PAPER_MACS, CLAIMED_COST),
        ),
        ("As good as HOSVD in memory, at a fraction of its cost", *_against_hosvd(study)),
        ("At the same k, accuracy as vanilla's with far less memory", *_same_depth(study)),
        ("1.5 times faster than vanilla on average, backward up to 10 times", *_speed(study)),
    ]
    return _table(("the poster", "here", "verdict"), rows)


def _best_ratio(study: Study, name: str, claimed: float) -> tuple[str, str]:
    told, best = [], 0.0
    for title, curve in study.series.items():
        if curve[0].method.kind != "asi":
            continue
        found = _helpful(study, at_equal_accuracy(study.vanilla, curve, name))
        if not found:
            told.append(f"{title}: reaches none of vanilla's accuracies above the classifier's")
            continue
        top = max(found, key=lambda at: at.ratio or 0)
        best = max(best, top.ratio or 0)
        told.append(f"{title}: {_ratio(top)} at vanilla's accuracy with k = {top.layers}")
    verdict = "holds" if best >= claimed else f"does not hold here: at most {best:.2f}"
    return "; ".join(told), verdict


def _helpful(study: Study, found: Iterable[AtEqualAccuracy]) -> list[AtEqualAccuracy]:
    """Those at accuracies that are a point above the classifier alone, which keeps nothing."""
    floor = _floor(study)
    return [at for at in found if at.ratio is not None and at.accuracy > floor]


def _floor(study: Study) -> float:
    return fmean(study.head.prices("accuracy")) + 0.01


def _against_hosvd(study: Study) -> tuple[str, str]:
    (hosvd,) = study.of("hosvd")
    pairs = [(study.at(study.published, s.layers), s) for s in hosvd]

    def over(name: str) -> list[float]:
        return [fmean(a.prices(name)) / fmean(h.prices(name)) for a, h in pairs]

    points = [100 * (fmean(a.prices("accuracy")) - fmean(h.prices("accuracy"))) for a, h in pairs]
    overheads = [_overhead(h) / _overhead(a) for a, h in pairs]
    memory, paper, seconds = over("activation_bytes"), over(PAPER_MACS), over("step_seconds")
    here = (
        f"over all k, ASI / HOSVD at the same explained variance: bytes {_range(memory)}, accuracy "
        f"{min(points):+.1f} to {max(points):+.1f} points, multiplies (paper) {_range(paper)}, step "
        f"time {_range(seconds)}; HOSVD's overhead is {min(overheads):.0f} to {max(overheads):.0f} "
        "times ASI's multiplies"
    )
    holds = max(memory) < 1.5 and max(seconds) < 1 and min(points) > -1
    return here, "holds" if holds else "holds in part"


def _overhead(setting: Setting) -> float:
    return fmean((run.summary or {})["macs"]["overhead"] for run in setting.runs)


def _same_depth(study: Study) -> tuple[str, str]:
    told, good = [], True
    for layers in (2, 4):
        vanilla = study.at(study.vanilla, layers)
        rows = []
        for title, curve in study.series.items():
            if curve[0].method.kind != "asi":
                continue
            asi = study.at(curve, layers)
            less = fmean(vanilla.prices("activation_bytes")) / fmean(asi.prices("activation_bytes"))
            lost = 100 * (fmean(vanilla.prices("accuracy")) - fmean(asi.prices("accuracy")))
            rows.append((less, lost, title))
        good = good and any(less >= 50 and lost <= 1 for less, lost, _ in rows)
        told += [
            f"k = {layers}, {title}: {less:.0f} times less, {-lost:+.1f} points"
            for less, lost, title in rows
        ]
    return "; ".join(told), "holds at 50 times and more" if good else "does not hold within a point"


def _speed(study: Study) -> tuple[str, str]:
    ratios = {}
    for name, part in (("step", "step_median"), ("backward", "backward_median")):
        ratios[name] = [
            _seconds(v, part) / _seconds(study.at(study.published, v.layers), part)
            for v in study.vanilla
        ]
    others = _end_to_end()
    asi, fresh = (geometric_mean(others[name]) for name in ("asi", "asi_refreshed"))
    here = (
        f"MCUNet here: step {_range(ratios['step'])} times as fast, backward "
        f"{_range(ratios['backward'])}; four networks at 224 pixels and k = 2, 4 (docs/"
        f"performance.md): step {asi:.2f} times (geometric mean), {fresh:.2f} with factors refreshed "
        f"every 4 steps, where multiplies allow {geometric_mean(others['limit']):.2f}"
    )
    return here, "holds" if asi >= CLAIMED_TIME else "does not hold here"


def _accuracy(study: Study) -> str:
    header = ("method", *(f"k = {k}" for k in study.depths), "runs")
    rows: list[tuple[str, ...]] = []
    for title, curve in study.series.items():
        cells = [_percent(study.at(curve, k)) for k in study.depths]
        rows.append((title, *cells, _names(run for s in curve for run in s.runs)))
    head = f"The classifier alone reaches {_percent(study.head)} ({_names(study.head.runs)})."
    return f"Test accuracy, percent.\n\n{_table(header, rows)}\n\n{head}"


def _memory(study: Study) -> str:
    parts = []
    for name, told in (
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
        parts.append(f"{told}:\n\n{_table(header, rows)}")
    return "\n\n".join(parts)


def _cost(study: Study) -> str:
    parts = []
    for name, told, scale, digits in (
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
        parts.append(f"{told}:\n\n{_table(header, rows)}")
    rows = [
        (
            title,
            *(
                f"{1e3 * _seconds(study.at(curve, k), 'forward_median'):.1f} + "
                f"{1e3 * _seconds(study.at(curve, k), 'backward_median'):.1f}"
                for k in study.depths
            ),
        )
        for title, curve in study.series.items()
    ]
    header = ("method", *(f"k = {k}" for k in study.depths))
    parts.append(f"Forward + backward, milliseconds (medians):\n\n{_table(header, rows)}")
    return "\n\n".join(parts) + (
        "\n\nTimes are of runs one after the other on a shared machine; docs/performance.md has "
        "steps that alternate. The exact count is small beside the paper's, because most of these "
        "convolutions are depthwise, and because it includes the input gradients."
    )


def _equal(study: Study) -> str:
    text = (
        "Both curves over k are read at the accuracy that vanilla reaches with each k: the least "
        "that vanilla needs for it over the least that the method needs, interpolated between "
        "neighbouring k in the price's logarithm. In brackets are the least and the largest of the "
        "three seeds, each with curves of its own, and in how many seeds the accuracy is reached at "
        "all. Accuracies less than a point above the classifier alone are left out: there, nothing "
        "is gained by training layers, and every ratio is as large as one likes."
    )
    parts = [text]
    for name, told in (
        ("activation_bytes", "Activation memory, by formula"),
        ("saved_bytes", "All that is kept for backward, measured"),
        (PAPER_MACS, "Multiplies of a step, by the paper's count"),
        ("macs", "Multiplies of a step, exact"),
    ):
        compared = {
            title: at_equal_accuracy(study.vanilla, curve, name)
            for title, curve in study.series.items()
            if title != label(study.vanilla[0])
        }
        floor = _floor(study)
        shown = [n for n, v in enumerate(study.vanilla) if fmean(v.prices("accuracy")) > floor]
        header = ("method", *(_at(study.vanilla[n]) for n in shown))
        rows = [(title, *(_ratio(found[n]) for n in shown)) for title, found in compared.items()]
        parts.append(f"{told}:\n\n{_table(header, rows)}")
    return "\n\n".join(parts)


def _better(study: Study) -> str:
    depth = study.settings[0].layers
    here = [s for s in study.curves if s.layers == depth]
    rows = []
    plain = study.at(study.vanilla, depth)
    with_momentum = next(
        s for s in study.settings if s.method.kind == "vanilla" and s.runs[0].spec.momentum
    )
    for setting in sorted((*here, *study.settings), key=_kept):
        same = with_momentum if setting.runs[0].spec.momentum else plain
        lost = fmean(setting.prices("accuracy")) - fmean(same.prices("accuracy"))
        rows.append(
            (
                label(setting),
                f"{_kept(setting) / KIB:.1f}",
                f"{_kept(plain) / _kept(setting):.0f}",
                _percent(setting),
                f"{100 * lost:+.1f}",
                f"{1e3 * fmean(setting.prices('step_seconds')):.1f}",
                _names(setting.runs),
            )
        )
    header = ("k = 4", "KiB by formula", "times less", "accuracy", "to vanilla", "ms", "runs")
    return (
        'All settings that were tried at k = 4, the smallest first; "to vanilla" is in points, '
        "against vanilla with the same momentum.\n\n"
        f"{_table(header, rows)}\n\n{_recommendation(study, plain, with_momentum)}"
    )


def _kept(setting: Setting) -> float:
    return fmean(setting.prices("activation_bytes"))


def _recommendation(study: Study, plain: Setting, with_momentum: Setting) -> str:
    def find(test: Any) -> Setting:
        both = (*study.settings, *(s for s in study.curves if s.layers == plain.layers))
        return next(s for s in both if test(s))

    def accuracy(setting: Setting) -> float:
        return 100 * fmean(setting.prices("accuracy"))

    published = find(lambda s: s in study.published)
    eight = find(
        lambda s: (
            getattr(s.method, "explained_variance", None) == 0.9
            and getattr(s.method, "bits", 32) == 8
            and s.method == s.method.model_copy(update={"refresh_every": 1})
            and not s.runs[0].spec.momentum
        )
    )
    return (
        f"**Recommended: 90 % explained variance in 8 bits.** It keeps {_kept(eight) / KIB:.0f} KiB "
        f"where the published setting (80 %, 32 bits) keeps {_kept(published) / KIB:.0f}, and is "
        f"{accuracy(eight) - accuracy(published):+.1f} points from it: rounding loses nothing that "
        "could be seen, and the bytes that it frees hold more ranks. Momentum adds "
        f"{accuracy(with_momentum) - accuracy(plain):+.1f} points to vanilla and serves ASI as well. "
        "Adapting ranks at every step, as HOSVD does, gains nothing at the same explained variance, "
        "and is not built. The published iteration of every mode on the full tensor keeps the same "
        "and takes longer."
    )


def _drifts(study: Study) -> str:
    rows = []
    for run in study.drift:
        probes = [e for e in study.store.events(run.id, "probe") if isinstance(e, ProbeEvent)]
        for layer in probes[-1].layers:
            looks = [next(at for at in probe.layers if at.name == layer.name) for probe in probes]
            angles = [
                max(angle for angle in look.drift_degrees if angle is not None)
                for look in looks
                if look.drift_degrees and any(a is not None for a in look.drift_degrees[1:])
            ]
            first, last = looks[0], looks[-1]
            rows.append(
                (
                    run.spec.method.settings_label,
                    layer.name,
                    "·".join(map(str, last.ranks or ())),
                    _share(first.captured_energy),
                    _share(last.captured_energy),
                    _share(last.best_energy),
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
        "Two runs at k = 4 that were looked at every 30 steps. Energy is the share of the input's "
        'squared norm that the method keeps; "best" is HOSVD\'s at the same ranks; the angle is the '
        "largest principal angle between the subspaces of two steps, over the modes; the cosine is "
        f"that of the weight gradient with the exact one.\n\n{_table(header, rows)}"
    )


def _small(study: Study) -> str:
    asi = next(s for s in study.small if s.method.kind == "asi")
    vanilla = next(s for s in study.small if s.method.kind == "vanilla")
    job = study.jobs.latest("measure", asi.runs[0].spec, "completed")
    plain = study.jobs.latest("measure", vanilla.runs[0].spec, "completed")
    assert job is not None
    assert job.result is not None
    assert plain is not None
    assert plain.result is not None
    kept, batch = job.result["saved_bytes"], asi.runs[0].spec.batch_size
    assert kept["total"] <= SMALL_DEVICE_BYTES
    assert job.result["meters_agree"]
    rows = [(name, f"{value}") for name, value in kept["by_category"].items()]
    lost = 100 * (fmean(asi.prices("accuracy")) - fmean(vanilla.prices("accuracy")))
    weights = _trained_parameters(study.store, asi.runs[0])
    return (
        f"The last {asi.layers} convolutions and the classifier, trained with ASI planned for 32 KiB "
        f"in 8 bits at batch {batch}, the largest that fits: all that the trained part keeps for "
        f"backward is {kept['total']} bytes of {SMALL_DEVICE_BYTES}, by both meters; vanilla keeps "
        f"{plain.result['compared_bytes']['vanilla']} with PyTorch's own layers. Accuracy "
        f"{_percent(asi)} ({_names(asi.runs)}) against vanilla's {_percent(vanilla)} "
        f"({_names(vanilla.runs)}) at the same batch: {lost:+.1f} points.\n\n"
        f"{_table(('kept for', 'bytes'), rows)}\n\n"
        f"Beside it, in single precision: {weights} trained numbers are {4 * weights} bytes of "
        f"weights, as much for their gradients, and as much again for momentum where there is any. "
        "Ranks are planned before training, with exact gradients, on a machine that has the memory "
        "for it; the device needs only the ranks. What the layers compute with during a step is "
        "not kept, and not counted here."
    )


def _trained_parameters(store: RunStore, run: RunRecord) -> int:
    (prepared,) = store.events(run.id, "prepared")
    assert isinstance(prepared, PreparedEvent)
    return prepared.trained_parameters


def _others() -> str:
    rows = [
        (
            case["model"],
            str(case["layers"]),
            *(f"{case['ratio'][way]:.2f}" for way in ("asi", "asi_refreshed")),
            f"{case['limit']:.2f}",
        )
        for case in _cases()
    ]
    header = ("network", "k", "ASI", "refreshed every 4 steps", "limit")
    return (
        "Vanilla's step over ASI's at 224 pixels, batch 64, ranks 16 x 32 x 4 x 4, random weights: "
        "geometry only, as their ImageNet weights are not at hand. The limit is the time that "
        "multiplies alone allow, if weight gradients were free. From docs/performance.json, where "
        f"all ways of a case alternate.\n\n{_table(header, rows)}"
    )


# Figures ------------------------------------------------------------------------------------------


def _cases() -> list[dict[str, Any]]:
    found = []
    for case in json.loads(PERFORMANCE.read_text())["end_to_end"]:
        if case["batch_size"] != 64:
            continue
        seconds = {way: timed["median"] for way, timed in case["seconds"].items()}
        ratio = {way: seconds["vanilla_nchw"] / s for way, s in seconds.items()}
        found.append({**case, "ratio": ratio, "limit": case["arithmetic_limit"]})
    return found


def _end_to_end() -> dict[str, list[float]]:
    cases = _cases()
    ways = {way: [case["ratio"][way] for case in cases] for way in ("asi", "asi_refreshed")}
    return {**ways, "limit": [case["limit"] for case in cases]}


def _seconds(setting: Setting, part: str) -> float:
    return fmean((run.summary or {})["seconds"][part] for run in setting.runs)


def _percent(setting: Setting) -> str:
    found = setting.spread("accuracy")
    spread = "" if found.deviation is None else f" ± {100 * found.deviation:.1f}"
    return f"{100 * found.mean:.1f}{spread}"


def _ratio(at: AtEqualAccuracy) -> str:
    reached = [ratio for ratio in at.by_seed if ratio is not None]
    if at.ratio is None:
        return f"not reached ({len(reached)} of {len(at.by_seed)} seeds)"
    digits = 0 if at.ratio >= 10 else 2
    between = f"{min(reached):.{digits}f} to {max(reached):.{digits}f}, " if reached else ""
    return f"{at.ratio:.{digits}f} ({between}{len(reached)} of {len(at.by_seed)})"


def _at(setting: Setting) -> str:
    return f"{100 * fmean(setting.prices('accuracy')):.1f} % (k = {setting.layers})"


def _share(energy: float | None) -> str:
    return "–" if energy is None else f"{energy:.3f}"


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def _names(runs: Iterable[RunRecord]) -> str:
    """Such as "c 0, 37, 74"."""
    found = sorted({(run.comparison, run.position) for run in runs})
    letter = {CURVES: "c", SETTINGS: "s", SMALL: "m", DRIFT: "d"}[found[0][0]]
    return f"{letter} " + ", ".join(str(position) for _, position in found)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Write the document."""
    settings = read_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    store, jobs = RunStore(settings.database_url), JobStore(settings.database_url)
    import_examples(store, SHIPPED_FOLDER)
    import_example_jobs(jobs, SHIPPED_FOLDER / "jobs")
    TARGET.write_text(document(Study(store, jobs)))
    store.close()
    jobs.close()
    print(TARGET.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
