"""The contract of all methods: each check takes a method with its settings, and asserts.

A package with its own method runs them like this:

    @pytest.mark.parametrize("check", asi_core.testing.CHECKS)
    def test_contract(check):
        for example in MyMethod.examples():
            check(example)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.testing import assert_close

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


def check_method(method: type[Method]) -> None:
    """Run all checks over a method's examples.

    Raises:
        AssertionError: if a check fails.
    """
    for example in method.examples():
        for check in CHECKS:
            check(example)


def forward_is_vanillas(method: Method) -> None:
    """The output of a compressed layer equals that of the plain one, bit for bit, unless the method
    says that it does not."""
    for plain, compressed, x in _pairs(method):
        output = compressed(x)
        assert output.isfinite().all()
        assert not method.exact_forward or torch.equal(plain(x), output)


def exact_gradients_are_vanillas(method: Method) -> None:
    """Where a method claims exact gradients, they equal autograd's."""
    for plain, compressed, x in _pairs(method):
        if not all(method.is_exact(shape) for shape in _shapes(plain, x)):
            continue
        for model in (plain, compressed):
            model(x).square().sum().backward()
        for expected, found in zip(plain.parameters(), compressed.parameters(), strict=True):
            assert_close(found.grad, expected.grad, rtol=1e-8, atol=1e-9)


def gradients_are_finite(method: Method) -> None:
    """Gradients of what is trained are finite, and after a first update none is zero."""
    for _, compressed, x in _pairs(method):
        trained = [p for p in compressed.parameters() if p.requires_grad]
        assert trained
        for _ in range(2):
            compressed.zero_grad()
            compressed(x).square().sum().backward()
            for parameter in trained:
                assert parameter.grad is not None
                assert parameter.grad.isfinite().all()
                # An adapter starts at zero, where its other half has no gradient.
                parameter.data.sub_(parameter.grad, alpha=1e-6)
        assert all(p.grad is not None and p.grad.any() for p in trained)


def formula_is_what_is_measured(method: Method) -> None:
    """The closed form of kept bytes equals what the meters count, to the byte."""
    if not method.has_closed_form or method.repeats_blocks:
        return
    for layer, x in _single_layers(method):
        # PyTorch's padding also keeps its input: formulas count the padded input.
        if not method.replaces_layers and getattr(layer, "padding_mode", "zeros") != "zeros":
            continue
        model = nn.Sequential(layer)
        compress_(model, method, layers=["0"], lean=False)
        with SavedBytes(model) as meter:
            output = model(x)
        shape = layer_shape("0", model[0], x, output)
        ranks = model[0].ranks if isinstance(model[0], CompressedLayer) else None
        assert meter.total == method.saved_bytes(shape, ranks, "exact"), (method, layer)


def counts_are_whole_numbers(method: Method) -> None:
    """Multiplies by formula are positive integers that add up, in both conventions."""
    if not method.has_closed_form:
        return
    for layer, x in _single_layers(method):
        shape = layer_shape("0", layer, x, layer(x))
        ranks = _possible_ranks(method, shape)
        for convention in _CONVENTIONS:
            macs = method.macs(shape, ranks, convention)
            assert macs.total == macs.forward + macs.overhead + macs.backward
            assert {type(part) for part in macs.as_dict().values()} == {int}
            assert min(macs.as_dict().values()) >= 0
            assert macs.forward > 0
            assert macs.backward > 0


def warm_starts_can_be_loaded(method: Method) -> None:
    """A model with another one's state dict and warm starts trains as that one does."""
    if method.repeats_blocks:
        return
    (first, x), (second, _) = _supported(method), _supported(method)
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


def evaluation_keeps_nothing(method: Method) -> None:
    """Nothing is kept where no gradient is needed."""
    model, x = _supported(method)
    if not method.repeats_blocks:
        compress_(model, method, layers="all")
    with torch.no_grad(), SavedBytes(model) as meter:
        model(x)
    assert meter.total == 0
    model.requires_grad_(False)
    with SavedBytes(model) as meter:
        model(x)
    assert meter.total == 0


def restoring_brings_plain_layers_back(method: Method) -> None:
    """`restore_` restores the original layers, weights and keys."""
    if method.repeats_blocks:
        return
    model, x = _supported(method)
    weight, keys = model[1].weight, set(model.state_dict())
    compress_(model, method, layers="all")
    model(x).sum().backward()
    restore_(model)
    assert [type(layer) for layer in model] == [nn.Conv2d, nn.Conv2d]
    assert model[1].weight is weight
    assert set(model.state_dict()) == keys


def unsupported_layers_are_refused(method: Method) -> None:
    """An unsupported layer is rejected with a reason, and left unchanged."""
    why = method.why_unsupported(LinearGeometry())
    if why is None or method.repeats_blocks:
        return
    model, _ = _perceptron()
    reason = ""
    try:
        compress_(model, method, layers=["2"])
    except Unsupported as error:
        reason = str(error)
    assert why in reason
    assert type(model[2]) is nn.Linear


def settings_survive_json(method: Method) -> None:
    """A method can be converted to JSON and back."""
    assert METHOD_ADAPTER.validate_json(method.model_dump_json()) == method


CHECKS: tuple[Callable[[Method], None], ...] = (
    forward_is_vanillas,
    exact_gradients_are_vanillas,
    gradients_are_finite,
    formula_is_what_is_measured,
    counts_are_whole_numbers,
    warm_starts_can_be_loaded,
    evaluation_keeps_nothing,
    restoring_brings_plain_layers_back,
    unsupported_layers_are_refused,
    settings_survive_json,
)


# Test networks -----------------------------------------------------------------------------------


def _network(**geometry: Any) -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    geometry = geometry or {"kernel_size": 3}
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 12, **geometry)).double()
    torch.manual_seed(1)
    return model, torch.randn(4, 3, 8, 8, dtype=torch.float64)


def _supported(method: Method) -> tuple[nn.Sequential, Tensor]:
    """A network of convolutions with the largest kernel that the method supports."""
    model, x = _network()
    is_supported = all(_supports(method, shape) for shape in _shapes(model, x))
    return (model, x) if is_supported else _network(kernel_size=1)


def _perceptron() -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3)).double()
    torch.manual_seed(1)
    return model, torch.randn(5, 7, 6, dtype=torch.float64)


def _pairs(method: Method) -> Iterator[tuple[nn.Sequential, nn.Sequential, Tensor]]:
    """Plain networks, the same with the method's layers, and their input."""
    if method.repeats_blocks:
        # It replaces no layer, but recomputes blocks of whole networks.
        return
    for geometry in _GEOMETRIES:
        (plain, x), (compressed, _) = _network(**geometry), _network(**geometry)
        shapes = _shapes(plain, x)
        if all(_supports(method, shape) for shape in shapes):
            compress_(compressed, method, layers="all")
            yield plain, compressed, x
    if method.why_unsupported(LinearGeometry()) is None:
        (plain, x), (compressed, _) = _perceptron(), _perceptron()
        compress_(compressed, method, layers=["0", "2"])
        yield plain, compressed, x


def _single_layers(method: Method) -> Iterator[tuple[nn.Module, Tensor]]:
    torch.manual_seed(0)
    for geometry in _GEOMETRIES:
        layer, x = nn.Conv2d(6, 12, **geometry), torch.randn(4, 6, 9, 9, requires_grad=True)
        shape = layer_shape("0", layer, x, layer(x))
        if _supports(method, shape):
            yield layer, x
    if method.why_unsupported(LinearGeometry()) is None:
        yield nn.Linear(6, 8), torch.randn(5, 7, 6, requires_grad=True)


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
