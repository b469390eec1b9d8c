"""Sparse updates: plain autograd with hand-set requirements is the oracle."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.compression.profile import profile_weight
from asi_core.costs.accounting import step_cost
from asi_core.costs.measurement import SavedBytes
from asi_core.errors import InvalidInput
from asi_core.layers.shapes import observed_shapes
from asi_core.layers.surgery import compress_, restore_
from asi_core.layers.warm_starts import load_warm_starts_, warm_starts
from asi_core.layers.watching import watched
from asi_core.methods import Method, Sparse, Vanilla
from asi_core.planning import plan
from asi_core.records import LayerShape, LinearGeometry
from asi_core.testing.methods import CHECKS

NAMES = ["0", "2", "4"]


def network(*, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    layers = (
        *(nn.Conv2d(3, 6, 3, padding=1, bias=bias), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3)),
        *(nn.ReLU(), nn.Conv2d(6, 4, 1, bias=bias), nn.Flatten(), nn.Linear(4 * 36, 5)),
    )
    return nn.Sequential(*layers).double().eval()


def images(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 3, 8, 8, generator=generator, dtype=torch.float64)


def loss_of(model: nn.Module, seed: int = 0) -> Tensor:
    return F.cross_entropy(model(images(seed)), torch.tensor([0, 1, 2, 3]))


def sparse(model: nn.Module, weights: Sequence[str]) -> Any:
    """`model` with planned layers, of which only `weights` train more than their biases."""
    compress_(model, Sparse(), layers=NAMES, lean=False)
    for name in NAMES:
        layer: Any = model.get_submodule(name)
        layer.plan_((4, 3, 8, 8) if name in weights else (0, 0, 0, 0))
    return model


@pytest.mark.parametrize("weights", [[], ["2"], ["0", "4"], NAMES], ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["with biases", "without biases"])
def test_gradients_are_autograds(weights: list[str], bias: bool) -> None:
    plain: Any = network()
    model = sparse(network(bias=bias), weights)
    if not bias:
        for name in NAMES:
            if name != "2":
                plain.get_submodule(name).bias.data.zero_()
        plain.load_state_dict(model.state_dict())
    plain.requires_grad_(False)
    for name in NAMES:
        plain.get_submodule(name).bias.requires_grad_(True)
        plain.get_submodule(name).weight.requires_grad_(name in weights)
    model[1].requires_grad_(False)
    model[6].requires_grad_(False)
    for one in (plain, model):
        loss_of(one).backward()
    for (name, expected), found in zip(plain.named_parameters(), model.parameters(), strict=True):
        assert found.requires_grad == expected.requires_grad, name
        if expected.requires_grad:
            assert_close(found.grad, expected.grad, rtol=1e-9, atol=1e-12)


def test_a_layer_without_its_weight_keeps_no_input() -> None:
    model = sparse(network(), ["2"])
    for name in ("1", "6"):
        model.get_submodule(name).requires_grad_(False)
    with SavedBytes(model) as meter:
        loss_of(model)
    whole = sparse(network(), ["0", "2"])
    for name in ("1", "6"):
        whole.get_submodule(name).requires_grad_(False)
    with SavedBytes(whole) as larger:
        loss_of(whole)
    # The input of the first layer, in double precision, makes the difference.
    assert larger.total - meter.total == 8 * 4 * 3 * 8 * 8
    assert [model.get_submodule(name).ranks for name in NAMES] == [
        (0, 0, 0, 0),
        (4, 6, 8, 8),
        (0, 0, 0, 0),
    ]


def test_the_formula_counts_what_is_trained() -> None:
    model, x = network(), images().float()
    model.float()
    with observed_shapes(model, NAMES) as seen:
        model(x)
        shapes = seen.all(NAMES)
    ranks: dict[str, Any] = dict.fromkeys(NAMES, (0, 0, 0, 0)) | {"2": shapes[1].input_shape}
    found, plain = (step_cost(shapes, m, "exact", ranks) for m in (Sparse(), Vanilla()))
    assert [layer.activation_bytes for layer in found.layers] == [0, 4 * 4 * 6 * 8 * 8, 0]
    for name, ours, theirs in zip(NAMES, found.layers, plain.layers, strict=True):
        weight = theirs.shape.weight_shape
        count, outputs = torch.Size(weight).numel(), weight[0]
        assert theirs.numbers.trained == count + outputs
        if name == "2":
            assert (ours.macs, ours.numbers) == (theirs.macs, theirs.numbers)
        else:
            assert ours.macs.weight_gradient == 0
            assert ours.macs.forward == theirs.macs.forward > 0
            assert (ours.numbers.trained, ours.numbers.frozen) == (outputs, count)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_contract_is_kept_whatever_the_budget(check: Any) -> None:
    method: Method = Sparse(weight_budget_bytes=1)
    check(method)


def test_an_added_bias_stays_only_where_it_was_trained() -> None:
    model = sparse(network(bias=False), ["2"])
    assert model[0].bias is not None
    untouched = copy.deepcopy(model)
    restore_(untouched)
    assert set(untouched.state_dict()) == set(network(bias=False).state_dict())
    expected = model(images())
    model[0].bias.data.fill_(0.5)
    changed = model(images())
    restore_(model)
    assert "0.bias" in model.state_dict()
    assert_close(model(images()), changed)
    assert not torch.equal(changed, expected)
    assert model[0].weight.requires_grad


def test_the_choice_is_kept_with_the_warm_starts() -> None:
    first, second = sparse(network(), ["2"]), network()
    compress_(second, Sparse(), layers=NAMES, lean=False)
    assert all(second.get_submodule(name).weight.requires_grad for name in NAMES)  # type: ignore[union-attr]
    load_warm_starts_(second, warm_starts(first))
    for name in NAMES:
        assert second.get_submodule(name).weight.requires_grad == (name == "2")
    second.get_submodule("0").requires_grad_(False)
    assert not any(p.requires_grad for p in second.get_submodule("0").parameters())
    second.get_submodule("0").requires_grad_(True)
    assert second.get_submodule("0").bias.requires_grad  # type: ignore[union-attr]
    assert not second.get_submodule("0").weight.requires_grad


def contributions() -> tuple[list[Any], dict[str, tuple[int, float]]]:
    """Profiles of the layers on two batches, and by hand: bytes, and squared mean gradient."""
    model: Any = network()
    passes = []
    with observed_shapes(model, NAMES) as seen:
        for seed in (0, 1):
            with watched(model, NAMES) as notes:
                loss_of(model, seed).backward()
            passes.append(notes)
            model.zero_grad()
        shapes = {name: seen.of(name)[0] for name in NAMES}
    profiles = [profile_weight(shapes[n], [p[n] for p in passes], Sparse()) for n in NAMES]
    own: Any = network()
    (0.5 * (loss_of(own, 0) + loss_of(own, 1))).backward()
    by_hand = {
        name: (
            4 * torch.Size(shapes[name].input_shape).numel(),
            float(own.get_submodule(name).weight.grad.square().sum()),
        )
        for name in NAMES
    }
    return profiles, by_hand


PROFILES, BY_HAND = contributions()


def test_a_contribution_is_the_first_decrease_of_the_loss() -> None:
    for profile in PROFILES:
        frozen, trained = profile.candidates
        nbytes, gain = BY_HAND[profile.name]
        assert (frozen.activation_bytes, trained.activation_bytes) == (0, nbytes)
        assert frozen.gradient_error == pytest.approx(gain, rel=1e-9)
        assert trained.gradient_error == 0
    # A small step along the gradient of one weight.
    model: Any = network()
    mean = 0.5 * (loss_of(model, 0) + loss_of(model, 1))
    mean.backward()
    with torch.no_grad():
        model[2].weight.sub_(model[2].weight.grad, alpha=1e-5)
        decrease = float(mean - 0.5 * (loss_of(model, 0) + loss_of(model, 1)))
    assert decrease / 1e-5 == pytest.approx(BY_HAND["2"][1], rel=1e-2)


@settings(max_examples=30)
@given(budget=st.integers(0, 4 * 4 * (3 + 6 + 6) * 64))
def test_the_choice_is_the_best_of_all(budget: int) -> None:
    made = plan(PROFILES, budget)
    chosen = {name for name, ranks in made.ranks.items() if any(ranks)}
    assert sum(BY_HAND[name][0] for name in chosen) <= budget
    every = [
        sum(BY_HAND[name][1] for name, is_in in zip(NAMES, flags, strict=True) if is_in)
        for flags in product([False, True], repeat=3)
        if sum(BY_HAND[n][0] for n, is_in in zip(NAMES, flags, strict=True) if is_in) <= budget
    ]
    assert sum(BY_HAND[name][1] for name in chosen) == pytest.approx(max(every), rel=1e-12)


def test_what_is_chosen_on_images_is_not_estimated() -> None:
    shape = LayerShape("0", (5, 6), (5, 3), (3, 6), LinearGeometry(), has_input_gradient=False)
    with pytest.raises(InvalidInput, match="what a sparse update keeps is chosen on the images"):
        step_cost([shape], Sparse(), "exact")
