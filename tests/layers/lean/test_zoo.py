"""Tails of the zoo's models, made lean."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule

from asi_core.costs.measure import measure_tail
from asi_core.layers.freezing import train_only_
from asi_core.layers.lean import lean_, unlean_
from asi_core.layers.selection import last_layers
from asi_core.layers.surgery import compress_
from asi_core.methods import ASI, HOSVD, Method, Vanilla
from asi_core.training.prefix import split_frozen
from asi_core.zoo.build import build_model
from asi_core.zoo.cards import model_card
from asi_core.zoo.shapes import trained_layer_shapes
from tests.costs.networks import batch, categories
from tests.layers.lean.cases import LEAN, assert_all_close, assert_all_equal, random_norm, types

ZOO = ["efficientnet_lite0", "mcunet_in1", "resnet18", "mobilenet_v2"]


def tail_of(
    name: str, method: Method, *, train_norm: bool = False
) -> tuple[nn.Module, GraphModule, list[str], tuple[Tensor, ...]]:
    """Model, trained part with 4 layers, their names, and its input for 8 images."""
    model = build_model(name, 10, 0, pretrained=False)
    torch.manual_seed(1)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
    names = last_layers(model_card(name).trainable_names(model.named_modules()), 4)
    names = compress_(model, method, layers=names, lean=False)
    train_only_(model, names, [model_card(name).head], train_norm=train_norm)
    parts = split_frozen(model)
    with torch.no_grad():
        crossing = parts.prefix(torch.randn(8, 3, 64, 64))
    return model, parts.tail, names, tuple(crossing)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("train_norm", [False, True])
@pytest.mark.parametrize("method", [Vanilla(), ASI(ranks=(4, 8, 2, 2))], ids=lambda m: m.kind)
@pytest.mark.parametrize("name", ZOO)
def test_tails_of_the_zoo_train_as_before_to_the_last_bit(
    name: str, method: Method, train_norm: bool, form: torch.memory_format
) -> None:
    """Equal up to rounding if the scale of a normalisation is trained: see `test_trained_norms`."""
    model, tail, _, crossing = tail_of(name, method, train_norm=train_norm)
    tail = tail.to(memory_format=form)
    crossing = tuple(value.contiguous(memory_format=form) for value in crossing)
    twin = copy.deepcopy(tail)
    report = lean_(twin)
    norms = [layer for layer in tail.modules() if isinstance(layer, nn.BatchNorm2d)]
    trained = [norm for norm in norms if norm.weight.requires_grad]
    assert len(trained) == (len(norms) if train_norm else 0)
    assert report.kept == {}
    assert len(report.replaced) >= 2
    assert list(twin.state_dict()) == list(tail.state_dict())
    if train_norm and method.replaces_layers:
        return  # as good as the convolution's gradient, which is not exact
    check = assert_all_close if train_norm else assert_all_equal
    check(tail, twin, crossing)
    check(tail, twin, crossing)  # warm
    assert not any(isinstance(layer, LEAN) for layer in model.modules())


@pytest.mark.parametrize("method", [Vanilla(), ASI(ranks=(4, 8, 2, 2)), HOSVD(ranks=2)])
@pytest.mark.parametrize("name", ZOO)
def test_lean_tails_keep_the_trained_inputs_and_a_bit_per_activation(
    name: str, method: Method
) -> None:
    _, tail, names, crossing = tail_of(name, method)
    head, shapes = model_card(name).head, trained_layer_shapes(name, 4, 8, 64)

    def loss_of(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, torch.arange(8))

    def make() -> tuple[Tensor, ...]:
        return tuple(value.clone() for value in crossing)

    before = measure_tail(tail, make, loss_of, head=head, method=method, shapes=shapes)
    lean_(tail)
    found = measure_tail(tail, make, loss_of, head=head, method=method, shapes=shapes)
    kept = categories(found.step)
    assert kept.pop("trained layer inputs") == found.formula_bytes
    assert kept.pop("activation functions") == bytes_of_masks(tail, make())
    assert set(kept) == {"head and loss"}
    assert found.formula_bytes == before.formula_bytes
    assert kept["head and loss"] == before.step.category_bytes["head and loss"]
    assert found.step.saved_bytes < before.step.saved_bytes
    assert [layer.name for layer in found.step.layers] == names


def bytes_of_masks(tail: nn.Module, values: tuple[Tensor, ...]) -> int:
    """One bit per element of every result of an activation in a step."""
    counts = []
    handles = [
        layer.register_forward_hook(lambda layer, x, y: counts.append(-(-y.numel() // 8)))
        for layer in tail.modules()
        if isinstance(layer, (nn.ReLU, nn.ReLU6))
    ]
    tail(*values)
    for handle in handles:
        handle.remove()
    return sum(counts)


def test_a_lean_tail_shares_its_parameters_and_can_be_undone() -> None:
    model, tail, _, crossing = tail_of("resnet18", Vanilla())
    before, keys = types(tail), list(tail.state_dict())
    lean_(tail)
    for name, parameter in tail.named_parameters():
        assert parameter is model.get_parameter(name)
    for name, buffer in tail.named_buffers():
        assert buffer is model.get_buffer(name)
    with torch.no_grad():
        expected = tail(*crossing)
    unlean_(tail)
    assert types(tail) == before
    assert list(tail.state_dict()) == keys
    with torch.no_grad():
        assert torch.equal(tail(*crossing), expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_lean_models_are_copied_and_pickled(copied: Callable[[nn.Module], nn.Module]) -> None:
    _, tail, _, crossing = tail_of("mobilenet_v2", Vanilla())
    layers = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True), random_norm(4), nn.ReLU6())
    for model, inputs in ((tail, crossing), (layers, batch(4, 4, 5, 5)())):
        lean_(model)
        twin = copied(model)
        found = [type(layer) for layer in twin.modules() if isinstance(layer, LEAN)]
        assert found == [type(layer) for layer in model.modules() if isinstance(layer, LEAN)]
        assert_all_equal(model, twin, inputs)
