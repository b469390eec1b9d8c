"""The shipped study, against counts and curves that are computed in another way."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from asi_core.costs.estimate import estimate
from asi_core.methods import ASI, GradientFilter, Vanilla
from asi_core.results.poster_study import (
    CURVES,
    PAPER_MACS,
    Setting,
    at_equal_accuracy,
    label,
    series,
    study_settings,
    vanilla_bytes,
)
from asi_core.runs.exchange.examples import SHIPPED_FOLDER, import_examples
from asi_core.runs.store.run_store import RunStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    store = RunStore(f"sqlite:///{tmp_path_factory.mktemp('store') / 'asi.sqlite'}")
    import_examples(store, SHIPPED_FOLDER)
    return store


@pytest.fixture(scope="module")
def curves(store: RunStore) -> dict[str, list[Setting]]:
    return series(study_settings(store, CURVES))


def of(curves: dict[str, list[Setting]], kind: str) -> list[list[Setting]]:
    return [curve for curve in curves.values() if curve[0].method.kind == kind]


def test_every_method_is_there_at_every_depth_with_three_seeds(
    curves: dict[str, list[Setting]],
) -> None:
    kinds = [curve[0].method.kind for curve in curves.values()]
    assert sorted(kinds) == ["asi", "asi", "asi", "gradient_filter", "hosvd", "vanilla"]
    for curve in curves.values():
        assert [setting.layers for setting in curve] == [1, 2, 4, 6, 8, 12]
        assert all([run.spec.seed for run in s.runs] == [0, 1, 2] for s in curve)


@pytest.mark.parametrize("method", [Vanilla(), GradientFilter(patch=2)], ids=str)
def test_the_paper_s_count_is_that_of_the_estimate(
    curves: dict[str, list[Setting]], method: Vanilla | GradientFilter
) -> None:
    (curve,) = of(curves, method.kind)
    for setting in curve:
        spec = setting.runs[0].spec
        expected = estimate(
            spec.model,
            method,
            layers=setting.layers,
            batch_size=spec.batch_size,
            image_size=spec.image_size,
            convention="paper",
        )
        assert setting.paper_macs == (expected.macs.total,) * 3
        # For full batches: an epoch's last batch is smaller, which lowers the mean over the steps.
        mean = fmean(setting.prices("activation_bytes"))
        assert 0.99 * expected.activation_bytes < mean <= expected.activation_bytes
        if method.kind == "vanilla":
            assert vanilla_bytes(spec) == expected.activation_bytes


def test_asi_s_count_in_the_paper_s_convention_is_between_half_and_all_of_vanilla_s(
    curves: dict[str, list[Setting]],
) -> None:
    (vanilla,) = of(curves, "vanilla")
    for curve in of(curves, "asi"):
        for ours, theirs in zip(curve, vanilla, strict=True):
            share = fmean(ours.paper_macs) / fmean(theirs.paper_macs)
            # The forward pass is half of it, and is not reduced.
            assert 0.5 < share < 1


def test_ratios_are_those_of_numpy_on_the_mean_curves(curves: dict[str, list[Setting]]) -> None:
    (vanilla,) = of(curves, "vanilla")
    for curve in of(curves, "asi"):
        points = sorted(
            (fmean(s.prices("activation_bytes")), fmean(s.prices("accuracy"))) for s in curve
        )
        best: list[tuple[float, float]] = []
        for price, accuracy in points:
            if not best or accuracy > best[-1][1]:
                best.append((price, accuracy))
        prices, reached = map(np.array, zip(*best, strict=True))
        for at, setting in zip(
            at_equal_accuracy(vanilla, curve, "activation_bytes"), vanilla, strict=True
        ):
            accuracy = fmean(setting.prices("accuracy"))
            assert at.accuracy == accuracy
            if accuracy > reached.max():
                assert at.ratio is None
                continue
            ours = np.exp(np.interp(accuracy, reached, np.log(prices)))
            theirs = min(
                fmean(s.prices("activation_bytes"))
                for s in vanilla
                if fmean(s.prices("accuracy")) >= accuracy
            )
            assert at.ratio == pytest.approx(theirs / ours)
            assert len(at.by_seed) == 3


def test_a_curve_against_itself_is_one(curves: dict[str, list[Setting]]) -> None:
    for curve in curves.values():
        for at in at_equal_accuracy(curve, curve, PAPER_MACS):
            assert at.ratio == pytest.approx(1)
            assert at.by_seed == pytest.approx((1, 1, 1))


def test_budgets_are_reported_as_shares(curves: dict[str, list[Setting]]) -> None:
    assert "ASI, planned for 1/50, 8 bits" in curves
    (planned,) = [c for c in of(curves, "asi") if c[0].method.budget_bytes]  # type: ignore[attr-defined]
    for setting in planned:
        assert isinstance(setting.method, ASI)
        assert label(setting) == "ASI, planned for 1/50, 8 bits"


def test_a_store_without_the_study_gives_no_settings(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    empty = RunStore(f"sqlite:///{tmp_path_factory.mktemp('empty') / 'asi.sqlite'}")
    assert study_settings(empty, CURVES) == []
