"""Compressed layers with the precisions, shapes and tools that PyTorch's layers support."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from asi_core.costs.measurement import SavedBytes
from asi_core.costs.storages import tensors_in
from asi_core.errors import InvalidInput
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.shapes import effective_input, layer_shape, observed_shapes
from asi_core.layers.surgery import compress_
from asi_core.layers.warm_starts import load_warm_starts_, warm_starts
from asi_core.methods import (
    ASI,
    HOSVD,
    METHODS,
    EightBit,
    FixedSubspace,
    GradientFilter,
    LoRA,
    LoRAFA,
    LoRAOverASI,
    Method,
    Sparse,
    Vanilla,
    VeLoRA,
)
from asi_core.records import ConvGeometry

COMPRESSING: list[Method] = [
    FixedSubspace(ranks=(4, 4, 3, 3)),
    VeLoRA(subtoken=3),
    ASI(ranks=(4, 4, 3, 3)),
    ASI(ranks=(4, 4, 3, 3), sequential=False),
    ASI(explained_variance=0.8),
    ASI(ranks=(4, 4, 3, 3), refresh_every=2),
    HOSVD(explained_variance=0.8),
    GradientFilter(patch=2),
]
LOSSLESS: list[Method] = [ASI(ranks=99), HOSVD(explained_variance=1.0)]
PADDING_MODES = ["reflect", "replicate", "circular"]
by_label = pytest.mark.parametrize("method", COMPRESSING, ids=lambda m: m.settings_label)


def network(method: Method | None = None, **geometry: Any) -> nn.Sequential:
    torch.manual_seed(0)
    geometry = {"kernel_size": 3, "padding": 1, **geometry}
    model = nn.Sequential(nn.Conv2d(6, 8, **geometry), nn.ReLU(), nn.Conv2d(8, 4, 3))
    if method is not None:
        compress_(model, method, layers=2)
    return model


def images(seed: int = 0, batch: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 6, 9, 9, generator=generator)


def gradients(model: nn.Module) -> list[Tensor]:
    found = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(g is not None for g in found)
    return [g.clone() for g in found if g is not None]


# Precision ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", [ASI(ranks=(8, 8, 4, 4)), HOSVD(explained_variance=0.9), GradientFilter(patch=32)]
)
def test_sums_beyond_float16_give_finite_gradients(method: Method) -> None:
    """An input of 60 to 100 has a norm, and its windows have sums, above 65504."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(64, 8, 1)), torch.rand(64, 64, 32, 32) * 40 + 60
    found = []
    for _ in range(2):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            output = model(x)
        assert output.dtype == torch.float16
        (output.float() * 1e-4).sum().backward()
        found.append(gradients(model)[0])
        compress_(model, method, layers=1)
    plain, compressed = found
    assert float(x.norm()) > torch.finfo(torch.float16).max
    assert bool(compressed.isfinite().all())
    assert float((compressed - plain).norm()) < 0.05 * float(plain.norm())


def test_in_float16_only_the_core_takes_four_bytes() -> None:
    kept = {}
    for ranks in (3, 99):
        model = nn.Sequential(nn.Conv2d(6, 4, 3, bias=False)).half()
        compress_(model, ASI(ranks=ranks), layers=1)
        with SavedBytes(model) as meter:
            model(images().half())
        kept[ranks] = meter.total
    assert kept[3] == 4 * 3**4 + 2 * 3 * (8 + 6 + 9 + 9)
    assert kept[99] == 2 * images().numel(), "the input itself, in its own type"


@pytest.mark.parametrize("geometry", [{"kernel_size": 3}, {"kernel_size": 1}], ids=str)
@pytest.mark.parametrize(
    "method", [*COMPRESSING, ASI(ranks=(8, 6, 4, 4)), ASI(ranks=(8, 4, 4, 4))], ids=str
)
def test_backward_may_be_called_within_autocast(method: Method, geometry: dict[str, Any]) -> None:
    found = []
    for within in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(6, 4, **geometry))
        compress_(model, method, layers=1)
        x = images().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(x).float().square().mean()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=within):
            loss.backward()
        assert x.grad is not None
        found.append([*gradients(model), x.grad])
    for outside, inside in zip(*found, strict=True):
        assert torch.equal(outside, inside)


# Shapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
@pytest.mark.parametrize("method", [*COMPRESSING, *LOSSLESS], ids=str)
def test_an_image_without_a_batch_is_a_batch_of_one(method: Method, padding_mode: str) -> None:
    models = [network(padding_mode=padding_mode).double() for _ in range(3)]
    single, batched, plain = models
    for model in (single, batched):
        compress_(model, method, layers=2)
    x = images()[0].double()
    inputs = [x.clone().requires_grad_(), x[None].clone().requires_grad_(), x.requires_grad_()]
    outputs = [model(given) for model, given in zip(models, inputs, strict=True)]
    assert torch.equal(outputs[0], outputs[2])
    assert torch.equal(outputs[0], outputs[1][0])
    for output in outputs:
        output.square().sum().backward()
    assert inputs[0].grad is not None
    assert inputs[1].grad is not None
    assert torch.equal(inputs[0].grad, inputs[1].grad[0])
    for found, expected in zip(gradients(single), gradients(batched), strict=True):
        assert torch.equal(found, expected)
    if method in LOSSLESS:
        for found, expected in zip(gradients(single), gradients(plain), strict=True):
            assert_close(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("method", LOSSLESS, ids=str)
def test_a_vector_without_a_batch_is_read_by_a_linear_layer(method: Method) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 4)).double(), torch.randn(6).double().requires_grad_()
    found = []
    for _ in range(2):
        output = model(x)
        inputs = [x, *model.parameters()]
        found.append([output, *torch.autograd.grad(output.square().sum(), inputs)])
        compress_(model, method, layers=["0"])
    assert torch.equal(found[0][0], found[1][0])
    for plain, compressed in zip(*found, strict=True):
        assert_close(compressed, plain, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("padding_mode", ["zeros", *PADDING_MODES])
@by_label
def test_closed_form_bytes_are_measured_for_every_padding(
    method: Method, padding_mode: str, batched: bool
) -> None:
    model = nn.Sequential(nn.Conv2d(6, 8, 3, padding=(1, 2), padding_mode=padding_mode))
    compress_(model, method, layers=1)
    x = images() if batched else images()[0]
    with observed_shapes(model, ["0"]) as shapes, SavedBytes(model) as meter:
        model(x)
    layer = model[0]
    assert isinstance(layer, CompressedLayer)
    (shape,) = shapes.of("0")
    assert meter.total == method.saved_bytes(shape, layer.ranks, "exact")
    assert shape.input_shape == tuple(effective_input(layer, x).shape)
    if padding_mode != "zeros":
        assert shape.input_shape == (8 if batched else 1, 6, 11, 13)


def test_a_plain_layer_has_the_shape_of_the_compressed_one() -> None:
    conv, x = nn.Conv2d(6, 8, 3, padding=1, padding_mode="circular"), images()
    plain = layer_shape("0", conv, x, conv(x))
    model = nn.Sequential(conv)
    compress_(model, ASI(ranks=2), layers=1)
    assert layer_shape("0", model[0], x, model(x)) == plain


# Tools ----------------------------------------------------------------------------------------


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


ADAPTING: list[Method] = [LoRA(), LoRAFA(), LoRAOverASI(ranks=3)]
COMPILED: list[Method] = [*COMPRESSING, *ADAPTING, ASI(ranks=99), EightBit(), Sparse(), Vanilla()]


def test_every_method_is_compiled() -> None:
    kernel = ConvGeometry((1, 1), (1, 1, 1, 1), (1, 1), 1)
    layerwise = {
        method
        for method in METHODS.values()
        if not method.repeats_blocks and method.why_unsupported(kernel) is None
    }
    assert {type(method) for method in COMPILED} == layerwise


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("method", COMPILED, ids=lambda m: m.settings_label)
def test_a_compiled_model_trains_as_it_is(method: Method) -> None:
    plain, inside = network(method), network(method)
    compiled = torch.compile(inside, backend="aot_eager")
    for step in range(3):
        for model, run in ((plain, plain), (inside, compiled)):
            model.zero_grad()
            run(images(step)).square().mean().backward()
        for found, expected in zip(gradients(inside), gradients(plain), strict=True):
            assert_close(found, expected, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        assert_close(compiled(images()), plain(images()))


@pytest.mark.parametrize("reentrant", [False, True])
@by_label
def test_a_checkpointed_model_trains_as_it_is(method: Method, reentrant: bool) -> None:
    """Repeating the forward pass must not advance the warm start a second time."""
    models = [network(method) for _ in range(2)]
    for step in range(3):
        for model, saves in zip(models, (False, True), strict=True):
            x = images(step).requires_grad_()
            model.zero_grad()
            output = checkpoint(model, x, use_reentrant=reentrant) if saves else model(x)
            output.square().mean().backward()
        for found, expected in zip(*map(gradients, models), strict=True):
            assert torch.equal(found, expected)
    for kept, expected in zip(*(m.state_dict().values() for m in models), strict=True):
        assert torch.equal(kept, expected)


@pytest.mark.parametrize("bits", [32, 16, 8])
def test_one_set_of_factors_is_held(bits: int) -> None:
    """Also between forward and backward: what is kept for the gradient starts the next step."""
    model = network(ASI(ranks=(4, 4, 3, 3), bits=bits))
    for step in range(3):
        loss = model(images(step)).square().mean()
        for layer in (model[0], model[2]):
            assert isinstance(layer, CompressedLayer)
            held = tensors_in([vars(layer.memory)])
            assert {t.data_ptr() for t in held} == {
                factor.data_ptr() for factor in layer.memory.factors.values()
            }
        loss.backward()


@pytest.mark.parametrize("bits", [16, 8])
def test_a_checkpoint_with_fewer_bits_is_as_accurate(bits: int) -> None:
    """It projects onto the stored factors, which are rounded."""
    models = [network(ASI(ranks=(4, 4, 3, 3), bits=bits)) for _ in range(2)]
    for step in range(3):
        for model, saves in zip(models, (False, True), strict=True):
            x = images(step)
            model.zero_grad()
            output = checkpoint(model, x, use_reentrant=False) if saves else model(x)
            output.square().mean().backward()
        for found, expected in zip(*map(gradients, models), strict=True):
            assert (found - expected).norm() < 0.02 * expected.norm()


def test_a_reentrant_checkpoint_after_plain_steps_continues_from_them() -> None:
    models = [network(ASI(ranks=(4, 4, 3, 3))) for _ in range(2)]
    for step, saves in enumerate((False, True, False, True)):
        for model, checkpointed in zip(models, (False, True), strict=True):
            x = images(step).requires_grad_()
            both = checkpointed and saves
            output = checkpoint(model, x, use_reentrant=True) if both else model(x)
            output.square().mean().backward()
    for found, expected in zip(*map(gradients, models), strict=True):
        assert torch.equal(found, expected)


# State ----------------------------------------------------------------------------------------


def test_a_state_dict_is_the_plain_ones_and_leaves_planned_ranks() -> None:
    model = network(ASI(budget_bytes=10_000))
    for layer in (model[0], model[2]):
        assert isinstance(layer, CompressedLayer)
        layer.memory.ranks = (4, 4, 3, 3)
    model(images()).sum().backward()
    plain = network()
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert all(value.is_contiguous() for value in model.state_dict().values())
    model.load_state_dict(plain.state_dict())
    assert torch.equal(model[0].weight, plain[0].weight)
    model(images())
    assert model[0].ranks == (4, 4, 3, 3)


def test_warm_starts_are_contiguous_copies_and_start_another_model_where_they_were() -> None:
    model, other = network(ASI(ranks=2)), network(ASI(ranks=2))
    model(images())
    state = warm_starts(model)
    assert set(state) == {
        f"{layer}.warm_start.{what}"
        for layer in (0, 2)
        for what in ("age", "factor_0", "factor_1", "factor_2", "factor_3")
    }
    assert all(value.is_contiguous() for value in state.values())
    load_warm_starts_(other, state)
    for one, same in ((model[0], other[0]), (model[2], other[2])):
        assert one.memory.age == same.memory.age == 1
        for mode, factor in one.memory.factors.items():
            assert torch.equal(same.memory.factors[mode], factor)
            assert same.memory.factors[mode].data_ptr() != factor.data_ptr()
    load_warm_starts_(other, {})
    assert other[0].memory.factors == {}


def test_warm_starts_of_other_layers_are_refused_and_change_nothing() -> None:
    model = network(ASI(ranks=2))
    model(images())
    before = dict(model[0].memory.factors)
    state = {**warm_starts(model), "1.warm_start.age": torch.tensor(3)}
    with pytest.raises(InvalidInput, match=r"got '1\.warm_start\.age': compress the same layers"):
        load_warm_starts_(model, state)
    assert model[0].memory.factors == before


def test_an_operator_in_place_may_follow_a_linear_layer() -> None:
    """A product of more than two modes is a view, which autograd refuses to change in place."""
    models = [nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True)).double() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    compress_(models[1], ASI(ranks=1000), layers=1)
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    for model in models:
        model(x).square().sum().backward()
    torch.testing.assert_close(models[1][0].weight.grad, models[0][0].weight.grad)


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 4, 3), nn.Linear(9, 9)], ids=repr)
def test_a_layer_whose_weight_is_frozen_keeps_no_input(layer: nn.Module) -> None:
    model = nn.Sequential(layer)
    compress_(model, ASI(ranks=2), layers=1)
    model[0].weight.requires_grad_(False)
    x = torch.randn(2, 4, 9, 9, requires_grad=True)
    with SavedBytes(model) as saved:
        output = model(x)
    assert saved.total == 0
    output.sum().backward()
    (expected,) = torch.autograd.grad(model[0].to_plain()(x).sum(), x)
    torch.testing.assert_close(x.grad, expected)
