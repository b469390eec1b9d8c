from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from math import inf, nan
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn
from torch.fx import GraphModule
from torch.testing import assert_close

from asi_core.costs.measure import measure_tail
from asi_core.costs.measurement import SavedBytes
from asi_core.errors import InvalidInput
from asi_core.layers.lean import (
    LeanBatchNorm2d,
    LeanReLU,
    LeanReLU6,
    lean_,
    packed_bits,
    unlean_,
    unpacked_bits,
)
from asi_core.layers.surgery import compress_, last_layers
from asi_core.methods import ASI, HOSVD, Method, Vanilla
from asi_core.training.prefix import split_frozen
from asi_core.training.setup import choose_trained_
from asi_core.zoo.build import build_model
from asi_core.zoo.cards import model_card
from asi_core.zoo.shapes import trained_layer_shapes
from tests.costs.networks import Applied, Residual, batch, categories, step

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
FORMS = ["contiguous", "channels last", "transposed", "every second"]
SPECIAL = [nan, inf, -inf, 0.0, -0.0, 6.0, 1e-45, 5.9999995, 6.0000005, -1.0, 3.0]
LEAN = (LeanBatchNorm2d, LeanReLU, LeanReLU6)


def assert_same(found: Tensor, expected: Tensor) -> None:
    """To the last bit, in the same order in memory; NaN equals NaN."""
    assert found.stride() == expected.stride()
    assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def in_form(values: Tensor, form: str) -> Tensor:
    """The same numbers, lying differently in memory."""
    if form == "channels last":
        return values.contiguous(memory_format=torch.channels_last)
    if form == "transposed":
        return values.transpose(0, 3).contiguous().transpose(0, 3)
    if form == "every second":
        return values.repeat_interleave(2, dim=3).clone()[..., ::2]
    return values


def output_and_gradient(layer: nn.Module, x: Tensor, grad_output: Tensor) -> tuple[Tensor, Tensor]:
    """Not of a leaf, which could not be changed in place; of a view, where `x` is none of all."""
    whole = (x._base if x._is_view() and not _dense(x) else x).detach().requires_grad_()
    moved = whole * 1
    output = layer(moved if _dense(x) else moved[..., ::2])
    return output.detach().clone(), torch.autograd.grad(output, whole, grad_output)[0]


def _dense(x: Tensor) -> bool:
    return x.numel() == x.untyped_storage().nbytes() // x.element_size()


def lean_twin(plain: nn.Module) -> nn.Module:
    """A lean layer with the parameters of `plain`."""
    holder = nn.Sequential(plain)
    assert lean_(holder).replaced == ("0",)
    assert isinstance(holder[0], LEAN)
    return holder[0]


shapes = st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 9), st.integers(1, 9))
forms = st.sampled_from(FORMS)


@st.composite
def values(draw: st.DrawFn, shape: tuple[int, ...], special: Sequence[float]) -> Tensor:
    """Numbers around 0 and 6, a third of them drawn from `special`."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    drawn = torch.randint(len(special), shape, generator=generator)
    is_special = torch.rand(shape, generator=generator) < 1 / 3
    plain = 4 * torch.randn(shape, generator=generator)
    return torch.where(is_special, torch.tensor(special)[drawn], plain)


# Layers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nn.ReLU, nn.ReLU6])
@given(st.data(), shapes, st.sampled_from(DTYPES), forms, forms, st.booleans())
@settings(max_examples=150)
def test_activations_are_pytorchs_to_the_last_bit(
    kind: Any,
    data: st.DataObject,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    form: str,
    grad_form: str,
    inplace: bool,
) -> None:
    """Infinities, zeros of both signs, 6 exactly; NaN, too, in the input and in the gradient."""
    special = SPECIAL
    if kind is nn.ReLU6 and (form != grad_form or form == "every second"):
        # PyTorch's own gradient at NaN differs from place to place there: see the class.
        special = SPECIAL[1:]
    x = in_form(data.draw(values(shape, special)).to(dtype), form)
    grad_output = in_form(data.draw(values(shape, SPECIAL)).to(dtype), grad_form)
    plain = kind(inplace)
    expected = output_and_gradient(plain, x, grad_output)
    for own, native in zip(
        output_and_gradient(lean_twin(plain), x, grad_output), expected, strict=True
    ):
        assert_same(own, native)


@given(st.data(), shapes, st.sampled_from(DTYPES), forms, forms, st.booleans(), st.booleans())
@settings(max_examples=150)
def test_a_fixed_normalisation_is_pytorchs_to_the_last_bit(
    data: st.DataObject,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    form: str,
    grad_form: str,
    affine: bool,
    mixed: bool,
) -> None:
    """Parameters in the precision of the input, or in single precision with half inputs."""
    x = in_form(data.draw(values(shape, SPECIAL)).to(dtype), form)
    grad_output = in_form(data.draw(values(shape, SPECIAL)).to(dtype), grad_form)
    half = dtype in (torch.float16, torch.bfloat16)
    plain = random_norm(shape[1], affine=affine).to(torch.float32 if half and mixed else dtype)
    expected = output_and_gradient(plain, x, grad_output)
    for own, native in zip(
        output_and_gradient(lean_twin(plain), x, grad_output), expected, strict=True
    ):
        assert_same(own, native)


def random_norm(channels: int, *, affine: bool = True) -> nn.BatchNorm2d:
    """Frozen, in evaluation mode, with statistics that are not those of a new layer."""
    torch.manual_seed(channels)
    norm = nn.BatchNorm2d(channels, affine=affine, eps=1e-3)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.01, 3)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm.eval().requires_grad_(False)


@pytest.mark.parametrize("layer", [random_norm(4), nn.ReLU(), nn.ReLU6(), nn.ReLU6(inplace=True)])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_a_summed_loss_and_an_empty_batch_are_pytorchs(
    layer: nn.Module, form: torch.memory_format
) -> None:
    """The gradient of a sum is one number, expanded."""
    for size in (0, 5):
        x = torch.randn(size, 4, 3, 7).contiguous(memory_format=form)
        one = torch.ones(()).expand(x.shape)
        expected = output_and_gradient(layer, x, one)
        for own, native in zip(
            output_and_gradient(lean_twin(layer), x, one), expected, strict=True
        ):
            assert_same(own, native)


@given(st.integers(0, 70), st.integers(0, 2**16))
def test_a_mask_is_a_bit_an_element(count: int, seed: int) -> None:
    mask = torch.rand(count, generator=torch.Generator().manual_seed(seed)) < 0.5
    packed = packed_bits(mask)
    assert packed.untyped_storage().nbytes() == -(-count // 8)
    unpacked = unpacked_bits(packed)
    assert torch.equal(unpacked[:count] != 0, mask)
    assert not unpacked[count:].any()


@pytest.mark.parametrize("side", [6, 5])
@pytest.mark.parametrize(
    ("layer", "category", "bits"),
    [
        (nn.ReLU(), "activation functions", 1),
        (nn.ReLU(inplace=True), "activation functions", 1),
        (nn.ReLU6(), "activation functions", 1),
        (nn.ReLU6(inplace=True), "activation functions", 1),
        (random_norm(3), None, 0),
    ],
)
def test_what_is_kept_is_a_bit_an_element_or_nothing(
    layer: nn.Module, category: str | None, bits: int, side: int
) -> None:
    model = Applied(layer, channels=3)
    assert lean_(model).replaced == ("function",)
    kept = categories(step(model, batch(3, 3, side, side), ["conv"]))
    assert kept.pop("trained layer inputs") == 4 * 3 * 3 * side * side
    assert kept == ({} if category is None else {category: -(-3 * 3 * side * side * bits // 8)})


@pytest.mark.parametrize("layer", [random_norm(4), nn.ReLU(), nn.ReLU6()])
def test_without_a_gradient_nothing_is_kept(layer: nn.Module) -> None:
    lean = lean_twin(layer)
    with SavedBytes(lean) as meter:
        lean(torch.randn(2, 4, 3, 3))
        with torch.no_grad():
            lean(torch.randn(2, 4, 3, 3, requires_grad=True))
        with torch.inference_mode():
            lean(torch.randn(2, 4, 3, 3))
    assert meter.total == 0


def trained(norm: nn.BatchNorm2d) -> None:
    norm.requires_grad_(True)


def only_shift_trained(norm: nn.BatchNorm2d) -> None:
    norm.bias.requires_grad_(True)


def in_training_mode(norm: nn.BatchNorm2d) -> None:
    norm.train()


@pytest.mark.parametrize("change", [trained, only_shift_trained, in_training_mode])
def test_a_normalisation_that_needs_its_input_is_the_plain_one(
    change: Callable[[nn.BatchNorm2d], None],
) -> None:
    """Also if it comes to need it after it has become lean."""
    plain = random_norm(4)
    layers = [copy.deepcopy(plain), lean_twin(copy.deepcopy(plain))]
    results = []
    for layer in layers:
        assert isinstance(layer, nn.BatchNorm2d)
        change(layer)
        x = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        output = layer(x)
        wanted = [x, *(p for p in layer.parameters() if p.requires_grad)]
        gradients = torch.autograd.grad(output.square().sum(), wanted)
        results.append([output.detach(), *gradients, *layer.buffers()])
    for own, native in zip(results[1], results[0], strict=True):
        assert torch.equal(own, native)
    change(plain)
    model = nn.Sequential(plain)
    assert "input" in lean_(model).kept["0"]
    assert model[0] is plain


def test_a_normalisation_refuses_what_the_plain_one_refuses() -> None:
    with pytest.raises(ValueError, match="expected 4D"):
        lean_twin(random_norm(4))(torch.randn(2, 4, 3, requires_grad=True))


def test_a_leaf_cannot_be_changed_in_place() -> None:
    with pytest.raises(RuntimeError, match="in-place"):
        lean_twin(nn.ReLU(inplace=True))(torch.randn(2, 4, requires_grad=True))


def test_a_part_can_be_changed_in_place() -> None:
    results = []
    for layer in (nn.ReLU6(inplace=True), lean_twin(nn.ReLU6(inplace=True))):
        x = (8 * torch.randn(4, 6, generator=torch.Generator().manual_seed(0))).requires_grad_()
        moved = x * 1
        layer(moved[:, 1:4])
        results.append([moved.detach(), torch.autograd.grad(moved.square().sum(), x)[0]])
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


# Models -----------------------------------------------------------------------------------------


def loss_and_gradients(model: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Of all that is trained, in the order of the parameters."""
    logits = model(*(x.clone() for x in inputs))
    loss = F.cross_entropy(logits.flatten(1), torch.arange(len(logits)))
    wanted = [p for p in model.parameters() if p.requires_grad]
    return [loss.detach(), *torch.autograd.grad(loss, wanted)]


def assert_all_equal(model: nn.Module, twin: nn.Module, inputs: Sequence[Tensor]) -> None:
    expected = loss_and_gradients(model, inputs)
    assert len(expected) > 1
    for own, native in zip(loss_and_gradients(twin, inputs), expected, strict=True):
        assert torch.equal(own, native)


def types(model: nn.Module) -> dict[str, type[nn.Module]]:
    """Of the layers, by name. Every traced model has a type of its own."""
    return {name: type(layer) for name, layer in model.named_modules() if name}


class Shortcut(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        y += x
        return y


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    """Random blocks; normalisations are trained or not, and an activation is called many times."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    shared = draw(st.sampled_from([nn.ReLU, nn.ReLU6]))(draw(st.booleans()))
    blocks: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 3))):
        groups = draw(st.sampled_from([1, 2, 4]))
        norm = random_norm(4).requires_grad_(draw(st.sampled_from([False, False, True])))
        inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=groups, bias=False), norm)
        inner.append(shared if draw(st.booleans()) else nn.ReLU6(draw(st.booleans())))
        # A shortcut changes its inner result, which a plain ReLU needs as it is.
        inner.append(nn.Conv2d(4, 4, 1))
        blocks += [Shortcut(inner) if draw(st.booleans()) else inner, random_norm(4), shared]
    pool = draw(st.sampled_from([nn.Identity(), nn.MaxPool2d(2), nn.AvgPool2d(2)]))
    return nn.Sequential(nn.Conv2d(4, 4, 1), *blocks, pool).eval()


@given(networks(), st.sampled_from([torch.contiguous_format, torch.channels_last]), st.booleans())
@settings(max_examples=40)
def test_networks_train_as_before_to_the_last_bit(
    model: nn.Module, form: torch.memory_format, traced: bool
) -> None:
    keys = list(model.state_dict())
    model = (fx.symbolic_trace(model) if traced else model).to(memory_format=form)
    twin = copy.deepcopy(model)
    lean_(twin)
    assert any(isinstance(layer, LEAN) for layer in twin.modules())
    assert list(twin.state_dict()) == keys
    (images,) = batch(3, 4, 6, 6)()
    assert_all_equal(model, twin, [images.contiguous(memory_format=form)])
    step(twin, batch(3, 4, 6, 6))  # the meters agree
    unlean_(twin)
    assert types(twin) == types(model)
    assert list(twin.state_dict()) == keys


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3), random_norm(4), nn.ReLU6(inplace=True))
    model = model.append(nn.Conv2d(4, 4, 1)).append(nn.ReLU())
    twin = copy.deepcopy(model)
    lean_(twin)
    with torch.autocast("cpu", dtype=dtype):
        assert_all_equal(model, twin, batch(4, 4, 9, 9)())


def test_one_in_place_activation_in_a_residual_block_is_one_still() -> None:
    """Called twice, behind a normalisation and behind a sum that is a shortcut's."""
    model = Residual().eval()
    twin = copy.deepcopy(model)
    assert lean_(twin).replaced == ("bn1", "relu", "bn2")
    assert_all_equal(model, twin, batch(4, 4, 9, 9)())
    bits = 4 * 4 * 9 * 9 // 8
    found = categories(step(twin, batch(4, 4, 9, 9), ["conv1", "conv2"]))
    assert found == {"trained layer inputs": 2 * 4 * 8 * bits, "activation functions": 2 * bits}


def test_a_layer_with_two_names_stays_one() -> None:
    relu, norm = nn.ReLU(), random_norm(4)
    model = nn.Sequential(nn.Conv2d(4, 4, 1), norm, relu, nn.Sequential(norm, relu))
    twin = copy.deepcopy(model)
    assert lean_(twin).replaced == ("1", "2", "3.0", "3.1")
    assert twin[1] is twin[3][0]
    assert twin[2] is twin[3][1]
    assert_all_equal(model, twin, batch(4, 4, 5, 5)())
    unlean_(twin)
    assert type(twin[2]) is nn.ReLU
    assert twin[2] is twin[3][1]


class Functional(nn.Module):
    """Every way to call a function that has a lean form."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.relu_1 = nn.Conv2d(4, 4, 1)  # a name that a node would like to have

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu_1(F.relu(self.conv(x)))
        x = F.relu(x + 1, inplace=True) * 2
        x = F.relu6(input=x - 1, inplace=True) - 1
        x = torch.relu(x) - torch.relu_(x - 2)
        x = (x - 1).relu() - x.mul(2).relu_()
        return F.relu(F.relu6(x, True) - 0.1, True)


def test_functions_of_a_traced_model_become_layers() -> None:
    model = Functional()
    twin = fx.symbolic_trace(copy.deepcopy(model))
    report = lean_(twin)
    assert len(report.replaced) == 9
    assert report.kept == {}
    in_place = [twin.get_submodule(name).inplace for name in report.replaced]
    assert in_place == [False, True, True, False, True, False, True, True, True]
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


def test_functions_of_another_model_are_told() -> None:
    kept = lean_(Functional()).kept
    assert len(kept) == 9
    assert kept["relu6"] == "relu6: a function has a lean form only in a traced model"


def test_what_keeps_its_bytes_is_told_with_the_reason() -> None:
    class Own(nn.ReLU):
        pass

    layers = {
        "conv": nn.Conv2d(4, 4, 1),
        "relu": nn.ReLU(),
        "own": Own(),
        "gelu": nn.GELU(),
        "hardswish": nn.Hardswish(),
        "norm": nn.BatchNorm2d(4),
        "trained": nn.BatchNorm2d(4).eval(),
        "batch": nn.BatchNorm2d(4, affine=False, track_running_stats=False).eval(),
        "group": nn.GroupNorm(1, 4),
        "pool": nn.AvgPool2d(2),
        "three": nn.AdaptiveAvgPool2d(3),
        "one": nn.AdaptiveAvgPool2d((1, 1)),
        "dropout": nn.Dropout(),
        "no_dropout": nn.Dropout().eval(),
        "flatten": nn.Flatten(),
    }
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    before = types(model)
    report = lean_(model)
    assert report.replaced == ("relu",)
    assert report.kept == {
        "own": "Own has a forward of its own",
        "gelu": "GELU: its gradient needs its input or its result, not one bit of them",
        "hardswish": "Hardswish: its gradient needs its input or its result, not one bit of them",
        "norm": "it is in training mode: its gradient needs its input",
        "trained": "it trains its affine map, whose gradient needs its input",
        "batch": "it has no running statistics: its gradient needs its input",
        "group": "GroupNorm: its gradient needs its input",
        "pool": "AvgPool2d: PyTorch keeps its input, and it has no lean form",
        "three": "AdaptiveAvgPool2d: PyTorch keeps its input, and it has no lean form",
        "dropout": "Dropout: it is in training mode and keeps what it drops",
    }
    unlean_(model)
    assert types(model) == before


def test_functions_that_keep_their_bytes_are_told_with_the_reason() -> None:
    class Calling(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = F.dropout(F.gelu(x), training=False) + F.dropout(x.sigmoid())
            x = F.max_pool2d(F.layer_norm(x, (8, 8)), 2).clamp(0, 6)
            return F.adaptive_avg_pool2d(x, 2) + F.adaptive_avg_pool2d(x, 1)

    report = lean_(Calling())
    assert set(report.kept) == {
        *("gelu", "dropout_1", "sigmoid", "layer_norm", "max_pool2d", "clamp"),
        "adaptive_avg_pool2d",
    }
    assert lean_(fx.symbolic_trace(Calling())) == report


def test_a_model_that_cannot_be_traced_is_told() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.relu(x) if x.sum() > 0 else F.gelu(x)
            return y

    report = lean_(Branching())
    assert report.replaced == ("relu",)
    assert "torch.fx cannot trace it" in report.kept["the model"]


def test_only_the_named_layers_are_replaced() -> None:
    model = fx.symbolic_trace(nn.Sequential(nn.ReLU(), nn.ReLU(), nn.GELU(), Functional()))
    report = lean_(model, ["1", "2"])
    assert report.replaced == ("1",)
    assert list(report.kept) == ["2"]
    assert type(model.get_submodule("0")) is nn.ReLU
    assert F.relu in [node.target for node in model.graph.nodes]


def test_what_cannot_be_asked_for_is_told() -> None:
    with pytest.raises(InvalidInput, match="'head'"):
        lean_(nn.Sequential(nn.ReLU()), ["head"])
    with pytest.raises(InvalidInput, match=r"got ReLU: put it into nn\.Sequential"):
        lean_(nn.ReLU())


def test_a_second_call_changes_nothing() -> None:
    model = nn.Sequential(nn.ReLU(), random_norm(4))
    assert lean_(model).replaced == ("0", "1")
    layers = list(model)
    report = lean_(model)
    assert report.replaced == ()
    assert report.kept == {}
    assert list(model) == layers


# The zoo ----------------------------------------------------------------------------------------

ZOO = ["efficientnet_lite0", "mcunet_in1", "resnet18", "mobilenet_v2"]


def tail_of(
    name: str, method: Method, *, train_norm: bool = False
) -> tuple[nn.Module, GraphModule, list[str], tuple[Tensor, ...]]:
    """Model, trained part with 4 layers, their names, and what it reads of 8 images."""
    model = build_model(name, 10, 0, pretrained=False)
    torch.manual_seed(1)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
    names = last_layers(model_card(name).trainable_names(model.named_modules()), 4)
    names = compress_(model, method, layers=names)
    choose_trained_(model, names, model_card(name).head, train_norm)
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
    model, tail, _, crossing = tail_of(name, method, train_norm=train_norm)
    tail = tail.to(memory_format=form)
    crossing = tuple(value.contiguous(memory_format=form) for value in crossing)
    twin = copy.deepcopy(tail)
    report = lean_(twin)
    norms = [layer for layer in tail.modules() if isinstance(layer, nn.BatchNorm2d)]
    trained = [norm for norm in norms if norm.weight.requires_grad]
    assert len(report.kept) == len(trained) == (len(norms) if train_norm else 0)
    assert len(report.replaced) >= 2
    assert list(twin.state_dict()) == list(tail.state_dict())
    assert_all_equal(tail, twin, crossing)
    assert_all_equal(tail, twin, crossing)  # warm
    assert not any(isinstance(layer, LEAN) for layer in model.modules())


@pytest.mark.parametrize("method", [Vanilla(), ASI(ranks=(4, 8, 2, 2)), HOSVD(ranks=2)])
@pytest.mark.parametrize("name", ZOO)
def test_lean_tails_keep_the_trained_inputs_and_a_bit_an_activation(
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
    """One bit an element of every result of an activation in a step."""
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
