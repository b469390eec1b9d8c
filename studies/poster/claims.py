"""The poster's claims one by one: the claim, the result here, and whether it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean

from asi_core.results.poster_study import (
    PAPER_MACS,
    AtEqualAccuracy,
    Setting,
    at_equal_accuracy,
    label,
)
from studies.poster.study import Study, between, ratio, seconds, speeds, table

_WHY_COST = (
    ". The forward pass is half of vanilla's count and is never saved, so that 2 is the "
    "maximum at the same k; accuracy lost by compression must be made up for by more layers"
)
_WHY_SAVED = (
    ". Activation functions, pooling and the classifier keep a bit or a byte per element, "
    "also when the layers' inputs are compressed"
)
CLAIMED_MEMORY, CLAIMED_COST, CLAIMED_TIME = 120.09, 1.86, 1.5


def claims(study: Study) -> str:
    rows = [
        (
            "At the same accuracy 120.09 times less activation memory than vanilla",
            *_best_ratio(study, "activation_bytes", CLAIMED_MEMORY),
        ),
        (
            "The same for all bytes kept for backward, measured (not on the poster)",
            *_best_ratio(study, "saved_bytes", CLAIMED_MEMORY, _WHY_SAVED),
        ),
        (
            "At the same accuracy 1.86 times cheaper (by its count of multiplies)",
            *_best_ratio(study, PAPER_MACS, CLAIMED_COST, _WHY_COST),
        ),
        ("As good as HOSVD in memory, at a fraction of its cost", *_against_hosvd(study)),
        ("At the same k, accuracy as vanilla's with far less memory", *_same_depth(study)),
        ("1.5 times faster than vanilla on average, backward up to 10 times", *_speed(study)),
    ]
    return table(("the poster", "here", "verdict"), rows)


def _best_ratio(study: Study, name: str, claimed: float, why: str = "") -> tuple[str, str]:
    message, best = [], {}
    for title, curve in study.series.items():
        if curve[0].method.kind != "asi":
            continue
        found = _helpful(study, at_equal_accuracy(study.vanilla, curve, name))
        if not found:
            message.append(f"{title}: reaches no accuracy of vanilla above the linear probe's")
            continue
        top = max(found, key=lambda at: at.ratio or 0)
        best[title] = top.ratio or 0.0
        message.append(f"{title}: {ratio(top)} at vanilla's accuracy with k = {top.layers}")
    return "; ".join(message), _verdict(study, best, claimed) + (
        "" if _holds(best, claimed) else why
    )


def _holds(best: Mapping[str, float], claimed: float) -> bool:
    return max(best.values(), default=0.0) >= claimed


def _verdict(study: Study, best: Mapping[str, float], claimed: float) -> str:
    """The published setting first; if only another setting holds, it is named."""
    published = label(study.published[0])
    if best.get(published, 0.0) >= claimed:
        return "holds"
    top = max(best, key=lambda title: best[title], default=None)
    if top is None:
        return "does not hold here"
    if not _holds(best, claimed):
        return f"does not hold here: at most {best[top]:.2f}"
    return f"as published ({published}) {best.get(published, 0.0):.0f}; holds with {top}"


def _helpful(study: Study, found: Iterable[AtEqualAccuracy]) -> list[AtEqualAccuracy]:
    """Those with accuracies at least a point above the linear probe, which keeps nothing."""
    floor = study.floor
    return [at for at in found if at.ratio is not None and at.accuracy > floor]


def _against_hosvd(study: Study) -> tuple[str, str]:
    (hosvd,) = study.of("hosvd")
    pairs = [(study.at(study.published, s.layers), s) for s in hosvd]

    def over(name: str) -> list[float]:
        return [fmean(a.prices(name)) / fmean(h.prices(name)) for a, h in pairs]

    points = [100 * (fmean(a.prices("accuracy")) - fmean(h.prices("accuracy"))) for a, h in pairs]
    overheads = [_overhead(h) / _overhead(a) for a, h in pairs]
    memory, paper, times = over("activation_bytes"), over(PAPER_MACS), over("step_seconds")
    here = (
        f"over all k, ASI / HOSVD at the same explained variance: bytes {between(memory)}, "
        f"accuracy {min(points):+.1f} to {max(points):+.1f} points, multiplies (paper) "
        f"{between(paper)}, step time {between(times)}; HOSVD spends "
        f"{min(overheads):.0f} to {max(overheads):.0f} times as many multiplies on compressing as "
        f"ASI (exact count)"
    )
    holds = max(memory) < 1.5 and max(times) < 1 and min(points) > -1
    return here, "holds" if holds else "holds in part"


def _overhead(setting: Setting) -> float:
    return fmean((run.summary or {})["macs"]["overhead"] for run in setting.runs)


def _same_depth(study: Study) -> tuple[str, str]:
    message, good, idle = [], True, []
    for layers in (2, 4):
        vanilla = study.at(study.vanilla, layers)
        if fmean(vanilla.prices("accuracy")) < study.floor:
            idle.append(layers)
        rows = []
        for title, curve in study.series.items():
            if curve[0].method.kind != "asi":
                continue
            asi = study.at(curve, layers)
            less = fmean(vanilla.prices("activation_bytes")) / fmean(asi.prices("activation_bytes"))
            lost = 100 * (fmean(vanilla.prices("accuracy")) - fmean(asi.prices("accuracy")))
            rows.append((less, lost, title))
        good = good and any(less >= 50 and lost <= 1 for less, lost, _ in rows)
        message += [
            f"k = {layers}, {title}: {less:.0f} times less, {-lost:+.1f} points"
            for less, lost, title in rows
        ]
    verdict = "holds at 50 times and more" if good else "does not hold within a point"
    for layers in idle:
        verdict += f"; with k = {layers} vanilla itself is no better than the linear probe"
    return "; ".join(message), verdict


def _speed(study: Study) -> tuple[str, str]:
    ratios = {}
    for name, part in (("step", "step_median"), ("backward", "backward_median")):
        ratios[name] = [
            seconds(v, part) / seconds(study.at(study.published, v.layers), part)
            for v in study.vanilla
        ]
    found = speeds()
    elsewhere = "; on ".join(
        f"{one.machine} {one.asi:.2f} times (geometric mean), {one.refreshed:.2f} with factors "
        "refreshed every 4 steps"
        for one in found
    )
    here = (
        f"MCUNet here: step {between(ratios['step'])} times as fast, backward "
        f"{between(ratios['backward'])}; four networks at 224 pixels and k = 2, 4 (docs/"
        f"performance.md): step on {elsewhere}, where multiplies would allow {found[0].limit:.2f}"
    )
    fast = [one.machine for one in found if one.asi >= CLAIMED_TIME]
    backward = f"; backward at most {max(ratios['backward']):.1f} times"
    if not fast:
        return here, f"does not hold here{backward}"
    on = "" if len(fast) == len(found) else f" on {', '.join(fast)} only"
    return here, f"the step's holds{on}{backward}"
