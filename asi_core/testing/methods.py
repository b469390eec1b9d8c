"""The contract of all methods: each check takes a method with its settings, and asserts.

A package with its own method runs them like this:

    @pytest.mark.parametrize("check", asi_core.testing.CHECKS)
    def test_contract(check):
        for example in MyMethod.examples():
            check(example)

They compute on the CPU in double precision; with an `Arithmetic`, elsewhere and in others:

    check(example, Arithmetic(torch.device("cuda"), torch.bfloat16))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from asi_core.costs.measurement import SavedBytes
from asi_core.errors import InvalidInput, Unsupported
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.shapes import layer_shape
from asi_core.layers.surgery import compress_, restore_
from asi_core.layers.warm_starts import load_warm_starts_, warm_starts
from asi_core.methods import METHOD_ADAPTER, Method
from asi_core.records import Convention, LayerShape, LinearGeometry, Ranks

_GEOMETRIES: tuple[dict[str, Any], ...] = (
    {"kernel_size": 1},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 3, "padding": "same", "dilation": 2},
    {"kernel_size": 3, "padding": 1, "groups": 6},
    {"kernel_size": 3, "padding": (0, 1), "groups": 2, "stride": (1, 2)},
    {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
)
_CONVENTIONS: tuple[Convention, ...] = ("paper", "exact")
# How far exact gradients may be from PyTorch's, in units of the precision's rounding: factors, core
# and products are rounded one after the other, and PyTorch's own gradient once.
_ROUNDINGS = {torch.float64: 1e6, torch.float32: 100.0, torch.bfloat16: 4.0, torch.float16: 4.0}


@dataclass(frozen=True)
class Arithmetic:
    """Where a check computes, and in which precision."""

    device: torch.device
    dtype: torch.dtype

    @property
    def tolerance(self) -> float:
        """How far exact gradients may be from PyTorch's, relative to their norm."""
        return _ROUNDINGS[self.dtype] * torch.finfo(self.dtype).eps


IN_DOUBLE = Arithmetic(torch.device("cpu"), torch.float64)


def check_method(method: type[Method], arithmetic: Arithmetic = IN_DOUBLE) -> None:
    """Run all checks over a method's examples.

    Args:
        arithmetic: where and in which precision.

    Raises:
        AssertionError: if a check fails.
    """
    for example in method.examples():
        for check in CHECKS:
            check(example, arithmetic)


def forward_is_vanillas(method: Method, arithmetic: Arithmetic = IN_DOUBLE) -> None:
    """The output of a compressed layer equals that of the plain one, bit for bit, unless the method
    says that it does not."""
    for plain, compressed, x in _pairs(method, arithmetic):
        output = compressed(x)
        assert output.isfinite().all()
        assert not method.exact_forward or torch.equal(plain(x), output)


def exact_gradients_are_vanillas(method: Method, arithmetic: Arithmetic = IN_DOUBLE) -> None:
    """Where a method claims exact gradients, they equal autograd's, to the precision."""
    for error in gradient_errors(method, arithmetic):
        assert error <= arithmetic.tolerance, (method, error, arithmetic.tolerance)


def gradient_errors(method: Method, arithmetic: Arithmetic = IN_DOUBLE) -> Iterator[float]:
    """How far each gradient that a method claims to be exact is from PyTorch's own, in the same
    precision: the norm of the difference over that of PyTorch's."""
    for plain, compressed, x in _pairs(method, arithmetic):
        if not all(method.is_exact(shape) for shape in _shapes(plain, x)):
            continue
        for model in (plain, compressed):
            model(x).square().sum().backward()
        for expected, found in zip(plain.parameters(), compressed.parameters(), strict=True):
            assert found.grad is not None
            assert expected.grad is not None
            yield relative_error(found.grad, expected.grad)


def gradients_are_finite(method: Method, arithmetic: Arithmetic = IN_DOUBLE) -> None:
    """Gradients of what is trained are finite, and after a first update none is zero."""
    for _, compressed, x in _pairs(method, arithmetic):
        trained = [p for p in compressed.parameters() if p.requires_grad]
        assert trained
        for _ in range(2):
            compressed.zero_grad()
            compressed(x).square().sum().backward()
            for parameter in trained:
                assert parameter.grad is not None
                assert parameter.grad.isfinite().all()
                # An adapter starts at zero, where its other half has no gradient.
                parameter.data.sub_(parameter.grad, alpha=_step_size(arithmetic.dtype))
        assert all(p.grad is not None and p.grad.any() for p in trained)


def formula_is_what_is_measured(method: Method, arithmetic: Arithmetic = IN_DOUBLE) -> None:
    """The closed form of kept bytes equals what the meters count, to the byte; in half precisions
    with two bytes for each number of which it has four."""
    if not method.has_closed_form or method.repeats_blocks:
        return
    dtype = arithmetic.dtype if arithmetic.dtype.itemsize == 2 else torch.float32
    for layer, x in _single_layers(method, replace(arithmetic, dtype=dtype)):
        # PyTorch's padding also keeps its input: formulas count the padded input.
        if not method.replaces_layers and getattr(layer, "padding_mode", "zeros") != "zeros":
            continue
        model = nn.Sequential(layer)
        compress_(model, method, layers=["0"], lean=False)
        kept, output = _kept_in_step(model, x)
        shape = layer_shape("0", model[0], x, output)
        ranks = model[0].ranks if isinstance(model[0], CompressedLayer) else None
        formula = method.saved_bytes(shape, ranks, "exact")
        assert sum(nbytes for _, nbytes in kept) == formula, (method, layer)
        if dtype != torch.float32:
            halved, _ = _kept_in_step(model.to(dtype), x.to(dtype))
            stays = [before == after for before, after in zip(kept, halved, strict=True)]
            expected = [k if s else _in(dtype, k) for k, s in zip(kept, stays, strict=True)]
            assert halved == expected, (method, layer)
            # In float16 one stays in single precision: sums over the input may exceed the range.
            may_stay = dtype == torch.float16 and not method.keeps_input(shape, ranks)
            assert sum(kind == torch.float32 for kind, _ in halved) <= may_stay, (method, layer)


def counts_are_whole_numbers(method: Method, arithmetic: Arithmetic = IN_DOUBLE) -> None:
    """Multiplies by formula are positive integers that add up, in both conventions."""
    if not method.has_closed_form:
        return
    for layer, x in _single_layers(method, arithmetic):
        shape = layer_shape("0", layer, x, layer(x))
        ranks = _possible_ranks(method, shape)
        for convention in _CONVENTIONS:
            macs = method.macs(shape, ranks, convention)
            assert macs.total == macs.forward + macs.overhead + macs.backward
            assert {type(part) for part in macs.as_dict().values()} == {int}
            assert min(macs.as_dict().values()) >= 0
            assert macs.forward > 0
            assert macs.backward > 0


def warm_starts_can_be_loaded(method: Method, arithmetic: Arithmetic = IN_DOUBLE) -> None:
    """A model with another one's state dict and warm starts trains as that one does."""
    if method.repeats_blocks:
        return
    (first, x), (second, _) = _supported(method, arithmetic), _supported(method, arithmetic)
    for model in (first, second):
        compress_(model, method, layers=1)
    first(x).sum().backward()
    second.load_state_dict(first.state_dict())
    load_warm_starts_(second, warm_starts(first))
    for model in (first, second):
        model.zero_grad()
        model(2 * x + 1).square().sum().backward()
    for expected, found in zip(first.parameters(), second.parameters(), strict=True):
        assert found.requires_grad == expected.requires_grad
        if not expected.requires_grad:
            continue
        assert expected.grad is not None
        assert found.grad is not None
        assert torch.equal(found.grad, expected.grad)


def checkpoints_change_no_gradient(method: Method, arithmetic: Arithmetic = IN_DOUBLE) -> None:
    """A model within PyTorch's checkpoint, which runs it twice, has the gradients of the model."""
    if method.repeats_blocks:
        return
    (first, x), (second, _) = _supported(method, arithmetic), _supported(method, arithmetic)
    for model in (first, second):
        compress_(model, method, layers="all")
    again = partial(checkpoint, second, use_reentrant=False)
    for batch in (x, 2 * x + 1):
        for model, run in ((first, first), (second, again)):
            model.zero_grad()
            run(batch).square().sum().backward()
        for expected, found in zip(first.parameters(), second.parameters(), strict=True):
            assert (found.grad is None) == (expected.grad is None)
            if expected.grad is not None and found.grad is not None:
                error = relative_error(found.grad, expected.grad)
                assert error <= arithmetic.tolerance, (method, error)


def evaluation_keeps_nothing(method: Method, arithmetic: Arithmetic = IN_DOUBLE) -> None:
    """Nothing is kept where no gradient is needed."""
    model, x = _supported(method, arithmetic)
    if not method.repeats_blocks:
        compress_(model, method, layers="all")
    with torch.no_grad(), SavedBytes(model) as meter:
        model(x)
    assert meter.total == 0
    model.requires_grad_(False)
    with SavedBytes(model) as meter:
        model(x)
    assert meter.total == 0


def restoring_brings_plain_layers_back(method: Method, arithmetic: Arithmetic = IN_DOUBLE) -> None:
    """`restore_` restores the original layers, weights and keys."""
    if method.repeats_blocks:
        return
    model, x = _supported(method, arithmetic)
    weight, keys = model[1].weight, set(model.state_dict())
    compress_(model, method, layers="all")
    model(x).sum().backward()
    restore_(model)
    assert [type(layer) for layer in model] == [nn.Conv2d, nn.Conv2d]
    assert model[1].weight is weight
    assert set(model.state_dict()) == keys


def unsupported_layers_are_refused(method: Method, arithmetic: Arithmetic = IN_DOUBLE) -> None:
    """An unsupported layer is rejected with a reason, and left unchanged."""
    why = method.why_unsupported(LinearGeometry())
    if why is None or method.repeats_blocks:
        return
    model, _ = _perceptron(arithmetic)
    reason = ""
    try:
        compress_(model, method, layers=["2"])
    except Unsupported as error:
        reason = str(error)
    assert why in reason
    assert type(model[2]) is nn.Linear


def settings_survive_json(method: Method, arithmetic: Arithmetic = IN_DOUBLE) -> None:
    """A method can be converted to JSON and back."""
    assert METHOD_ADAPTER.validate_json(method.model_dump_json()) == method


CHECKS: tuple[Callable[..., None], ...] = (
    forward_is_vanillas,
    exact_gradients_are_vanillas,
    gradients_are_finite,
    formula_is_what_is_measured,
    counts_are_whole_numbers,
    warm_starts_can_be_loaded,
    checkpoints_change_no_gradient,
    evaluation_keeps_nothing,
    restoring_brings_plain_layers_back,
    unsupported_layers_are_refused,
    settings_survive_json,
)


# Test networks -----------------------------------------------------------------------------------


def _network(arithmetic: Arithmetic, **geometry: Any) -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    geometry = geometry or {"kernel_size": 3}
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 12, **geometry))
    torch.manual_seed(1)
    return _placed(model, torch.randn(4, 3, 8, 8, dtype=torch.float64), arithmetic)


def _supported(method: Method, arithmetic: Arithmetic) -> tuple[nn.Sequential, Tensor]:
    """A network of convolutions with the largest kernel that the method supports."""
    model, x = _network(arithmetic)
    is_supported = all(_supports(method, shape) for shape in _shapes(model, x))
    return (model, x) if is_supported else _network(arithmetic, kernel_size=1)


def _perceptron(arithmetic: Arithmetic) -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3))
    torch.manual_seed(1)
    return _placed(model, torch.randn(5, 7, 6, dtype=torch.float64), arithmetic)


def _placed(
    model: nn.Sequential, x: Tensor, arithmetic: Arithmetic
) -> tuple[nn.Sequential, Tensor]:
    """Both where they are computed: drawn on the CPU, the numbers are the same everywhere."""
    device, dtype = arithmetic.device, arithmetic.dtype
    return model.double().to(device, dtype), x.to(device, dtype)


def _pairs(
    method: Method, arithmetic: Arithmetic
) -> Iterator[tuple[nn.Sequential, nn.Sequential, Tensor]]:
    """Plain networks, the same with the method's layers, and their input."""
    if method.repeats_blocks:
        # It replaces no layer, but recomputes blocks of whole networks.
        return
    for geometry in _GEOMETRIES:
        (plain, x), (compressed, _) = (_network(arithmetic, **geometry) for _ in range(2))
        shapes = _shapes(plain, x)
        if all(_supports(method, shape) for shape in shapes):
            compress_(compressed, method, layers="all")
            yield plain, compressed, x
    if method.why_unsupported(LinearGeometry()) is None:
        (plain, x), (compressed, _) = _perceptron(arithmetic), _perceptron(arithmetic)
        compress_(compressed, method, layers=["0", "2"])
        yield plain, compressed, x


def _single_layers(method: Method, arithmetic: Arithmetic) -> Iterator[tuple[nn.Module, Tensor]]:
    """Layers in single precision, with numbers that the precision asked for has as well."""
    torch.manual_seed(0)
    for geometry in _GEOMETRIES:
        layer, x = _rounded(nn.Conv2d(6, 12, **geometry), torch.randn(4, 6, 9, 9), arithmetic)
        shape = layer_shape("0", layer, x, layer(x))
        if _supports(method, shape):
            yield layer, x
    if method.why_unsupported(LinearGeometry()) is None:
        yield _rounded(nn.Linear(6, 8), torch.randn(5, 7, 6), arithmetic)


def _rounded(layer: nn.Module, x: Tensor, arithmetic: Arithmetic) -> tuple[nn.Module, Tensor]:
    device, dtype = arithmetic.device, arithmetic.dtype
    return layer.to(device, dtype).float(), x.to(device, dtype).float().requires_grad_()


def _kept_in_step(model: nn.Sequential, x: Tensor) -> tuple[list[tuple[torch.dtype, int]], Tensor]:
    """The types and bytes of what a forward pass keeps, in order, and its output."""
    with SavedBytes(model) as meter:
        output = model(x.detach().requires_grad_())
    return meter.kept, output


def _in(dtype: torch.dtype, kept: tuple[torch.dtype, int]) -> tuple[torch.dtype, int]:
    """What is kept in `dtype` of what is kept in single precision."""
    kind, nbytes = kept
    return dtype, nbytes * dtype.itemsize // kind.itemsize


def _step_size(dtype: torch.dtype) -> float:
    """Of an update that leaves a network as it is, and its gradients within the type's range."""
    return 1e-6 if dtype.itemsize > 2 else 1e-3


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference over that of `expected`, computed in double precision."""
    reference = expected.cpu().double()
    # Of an adapter that starts at zero, one half has no gradient yet.
    norm = max(float(reference.norm()), torch.finfo(torch.float64).tiny)
    return float((found.cpu().double() - reference).norm()) / norm


def _supports(method: Method, shape: LayerShape) -> bool:
    return method.why_unsupported_layer(shape.geometry, shape.weight_shape) is None


def _possible_ranks(method: Method, shape: LayerShape) -> Ranks | None:
    """Ranks that the method may have; full ranks if they depend on the input."""
    try:
        return method.ranks_for(shape)
    except InvalidInput:
        return shape.input_shape


def _shapes(model: nn.Sequential, x: Tensor) -> list[LayerShape]:
    """The shapes of the layers that have weights."""
    found = []
    for name, layer in model.named_children():
        output = layer(x)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            found.append(layer_shape(name, layer, x, output))
        x = output
    return found
