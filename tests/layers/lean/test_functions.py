from __future__ import annotations

import copy

from torch import fx, nn

from asi_core.layers.lean import lean_, unlean_
from tests.costs.networks import batch, categories, step
from tests.layers.lean.cases import LEAN, Functional, assert_all_equal


def test_functions_of_a_traced_model_become_layers() -> None:
    model = Functional()
    twin = fx.symbolic_trace(copy.deepcopy(model))
    report = lean_(twin)
    assert len(report.replaced) == 9
    assert report.kept == {}
    in_place = [twin.get_submodule(name).inplace for name in report.replaced]
    were = [False, True, True, False, True, False, True, True, True]
    assert [found or not own for found, own in zip(in_place, were, strict=True)] == [True] * 9
    assert isinstance(twin.relu_1, nn.Conv2d)
    assert list(twin.state_dict()) == list(model.state_dict())
    assert_all_equal(model, twin, batch(4, 4, 5, 5)())
    found = categories(step(twin, batch(4, 4, 5, 5), ["conv", "relu_1"]))
    assert found["activation functions"] == 9 * 50
    unlean_(twin)
    assert not any(isinstance(layer, LEAN) for layer in twin.modules())
    assert_all_equal(model, twin, batch(4, 4, 5, 5)())


def test_a_traced_part_of_a_model_is_rewritten_in_place() -> None:
    model = nn.Sequential(fx.symbolic_trace(Functional()), nn.ReLU())
    report = lean_(model)
    assert len(report.replaced) == 10
    assert report.replaced[-1] == "1"
    assert report.kept == {}


def test_functions_of_another_model_are_reported() -> None:
    kept = lean_(Functional()).kept
    assert len(kept) == 9
    assert kept["relu6"] == "relu6: a function has a lean form only in a traced model"
