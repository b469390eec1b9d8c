"""Runs with different progress are compared at their last common evaluation."""

from __future__ import annotations

import pytest

from dashboard.feed import RunFeed
from dashboard.train.differences import difference
from dashboard.train.live import answer


def feed(**accuracies: float) -> RunFeed:
    rows = [{"step": int(k.removeprefix("at_")), "accuracy": v} for k, v in accuracies.items()]
    return RunFeed(evaluations=rows)


def test_the_latest_common_step_counts() -> None:
    ahead, behind = feed(at_10=0.5, at_20=0.6, at_30=0.9), feed(at_10=0.4, at_20=0.55)
    for one, other, points in ((ahead, behind, 5), (behind, ahead, -5)):
        found = difference(one, other)
        assert found is not None
        assert found.step == 20
        assert found.points == pytest.approx(points)


@pytest.mark.parametrize("reference", [None, feed(), feed(at_15=0.5)])
def test_without_a_common_step_there_is_none(reference: RunFeed | None) -> None:
    assert difference(feed(at_10=0.5, at_20=0.6), reference) is None


def test_the_answer_compares_at_one_step_as_the_cards_do() -> None:
    """Vanilla with three evaluations, and ASI with two."""
    from asi_core.methods import ASI, Vanilla
    from asi_core.runs.records import RunRecord
    from asi_core.training.spec import RunSpec

    def run(method: ASI | Vanilla) -> RunRecord:
        values = dict.fromkeys(RunRecord.__dataclass_fields__)
        values |= {"id": method.kind, "spec": RunSpec(method=method), "status": "running"}
        return RunRecord(**values)

    def with_steps(found: RunFeed, kept: int) -> RunFeed:
        return RunFeed(steps=[{"step": 1, "activation_bytes": kept}], evaluations=found.evaluations)

    runs = [run(Vanilla()), run(ASI(ranks=4))]
    feeds = [
        with_steps(feed(at_10=0.5, at_20=0.6, at_30=0.7), 4000),
        with_steps(feed(at_10=0.4, at_20=0.55), 1000),
    ]
    sentence = answer(runs, feeds)
    assert "4\u202f× less" in sentence
    assert "at 55.0\u202f% test accuracy against 60.0\u202f%, both after 20 steps." in sentence
