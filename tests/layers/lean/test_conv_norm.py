"""Frozen normalisations that a compressed convolution computes."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor, fx, nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from asi_core.costs.measurement import SavedBytes
from asi_core.layers.conv import CompressedConv2d
from asi_core.layers.lean import LeanBatchNorm2d, LeanReport, lean_, unlean_
from asi_core.layers.lean.conv_norm import CompressedConvNorm2d, FusedBatchNorm2d
from asi_core.layers.surgery import compress_, restore_
from asi_core.layers.watching import watched
from asi_core.methods import ASI, HOSVD, EightBit, Method, Vanilla
from tests.geometries import ConvCase, conv_cases
from tests.layers.lean.cases import assert_all_close, assert_all_equal, random_norm, types
from tests.layers.lean.test_zoo import ZOO, tail_of

FULL = ASI(ranks=10**6)


def compressed(conv: nn.Conv2d, *others: nn.Module, method: Method = FULL) -> fx.GraphModule:
    """A traced sequence of layers whose first, a convolution, is compressed."""
    model = nn.Sequential(conv, *others).eval()
    compress_(model, method, layers=["0"], lean=False)
    tracer = fx.Tracer()
    tracer.is_leaf_module = lambda layer, name: True  # type: ignore[method-assign]
    return fx.GraphModule(model, tracer.trace(model))


def folded(model: nn.Module) -> LeanReport:
    return lean_(model, fold=True)


def is_folded(model: nn.Module, x: Tensor) -> bool:
    """Whether one convolution computes the output, without a normalisation."""
    with CalledOperators() as called:
        model(x)
    return not any("batch_norm" in name for name in called.names)


class CalledOperators(TorchDispatchMode):
    """Records the names of PyTorch's operators while it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def output_and_gradients(model: nn.Module, x: Tensor) -> list[Tensor]:
    leaf = x.clone().requires_grad_()
    output = model(leaf)
    drawn = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    weights = [p for p in model.parameters() if p.requires_grad]
    return [output.detach(), *torch.autograd.grad(output, [leaf, *weights], drawn)]


def assert_close_all(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected) > 2
    for own, native in zip(found, expected, strict=True):
        assert_close(own, native, rtol=1e-4, atol=1e-4)


@given(conv_cases())
def test_output_and_gradients_are_autograds(case: ConvCase) -> None:
    norm = random_norm(case.conv.out_channels).double()
    model = compressed(case.conv.double(), norm)
    expected = output_and_gradients(model, case.x)
    assert folded(model).replaced == ("1",)
    for own, native in zip(output_and_gradients(model, case.x), expected, strict=True):
        assert_close(own, native, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("method", [FULL, HOSVD(ranks=10**6)], ids=lambda m: m.kind)
def test_every_kind_of_pair_is_folded(method: Method, bias: bool, affine: bool) -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(4, 6, 3, bias=bias), torch.randn(5, 4, 12, 12)
    model = compressed(conv, random_norm(6, affine=affine), nn.ReLU(inplace=True), method=method)
    expected = output_and_gradients(model, x)
    folded(model)
    assert is_folded(model, x)
    assert_close_all(output_and_gradients(model, x), expected)


@pytest.mark.parametrize("name", ZOO)
def test_tails_of_the_zoo_train_as_before_to_rounding(name: str) -> None:
    _, tail, _, crossing = tail_of(name, FULL)
    twin = copy.deepcopy(tail)
    assert folded(twin).kept == {}
    convs = [layer for layer in twin.modules() if isinstance(layer, CompressedConv2d)]
    norms = [layer for layer in tail.modules() if isinstance(layer, nn.BatchNorm2d)]
    paired = [conv for conv in convs if isinstance(conv, CompressedConvNorm2d)]
    assert len(paired) == min(len(convs), len(norms)) > 2
    assert_all_close(tail, twin, crossing)
    assert_all_close(tail, twin, crossing)  # warm


def test_nothing_more_is_kept() -> None:
    x = torch.randn(5, 4, 12, 12)
    sizes = []
    for fold in (False, True):
        model = compressed(nn.Conv2d(4, 8, 3), random_norm(8), nn.ReLU(), method=EightBit())
        lean_(model, fold=fold)
        with SavedBytes(model) as meter:
            model(x)
        sizes.append(meter.total)
    assert sizes[0] == sizes[1]


def test_a_weight_larger_than_its_output_is_not_worth_scaling() -> None:
    model = compressed(nn.Conv2d(8, 4, 3, padding=1), random_norm(4))
    folded(model)
    for side, batch, is_worth in ((6, 2, False), (6, 3, True)):
        assert is_folded(model, torch.randn(batch, 8, side, side)) is is_worth
    assert is_folded(model, torch.randn(2, 8, 6, 6)) is False


def test_what_is_exact_or_not_requested_stays_exact() -> None:
    for method, fold in ((Vanilla(), True), (FULL, False)):
        model = compressed(nn.Conv2d(4, 8, 3), random_norm(8), method=method)
        twin = copy.deepcopy(model)
        lean_(twin, fold=fold)
        x = torch.randn(5, 4, 12, 12)
        assert not is_folded(twin, x)
        found = output_and_gradients(twin, x)
        for own, native in zip(found, output_and_gradients(model, x), strict=True):
            assert torch.equal(own, native)


def test_evaluation_is_exact_also_after_a_step_that_was_cut_short() -> None:
    model = compressed(nn.Conv2d(4, 8, 3), random_norm(8))
    plain, x = copy.deepcopy(model), torch.randn(5, 4, 12, 12)
    folded(model)
    model.get_submodule("0")(x)  # without the normalisation
    with torch.no_grad():
        assert torch.equal(model(x), plain(x))
    assert_close_all(output_and_gradients(model, x), output_and_gradients(plain, x))


def test_hooks_that_replace_or_watch_an_output_change_no_number() -> None:
    """A full backward hook passes the output on as another tensor."""
    model = compressed(nn.Conv2d(4, 8, 3), random_norm(8))
    plain, x, seen = copy.deepcopy(model), torch.randn(5, 4, 12, 12), []
    folded(model)
    conv = model.get_submodule("0")
    conv.register_full_backward_hook(lambda layer, ins, outs: seen.append(outs[0].shape))
    conv.register_forward_hook(lambda layer, ins, y: y.clone())
    assert_close_all(output_and_gradients(model, x), output_and_gradients(plain, x))
    assert seen == [(5, 8, 10, 10)]


def test_the_convolutions_own_gradients_are_watched() -> None:
    """Of its product's output, which a probe needs to compare with the exact weight gradient."""
    for norm in (random_norm(8), random_norm(8).requires_grad_(True)):
        model = compressed(nn.Conv2d(4, 8, 3), norm)
        plain, x = copy.deepcopy(model), torch.randn(5, 4, 12, 12)
        folded(model)
        found = []
        for each in (plain, model):
            with watched(each, ["0"]) as notes:
                each(x).square().sum().backward()
            gradient = notes["0"].grad_output
            assert gradient is not None
            found.append(gradient)
            assert each.get_submodule("0").watcher is None
        assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)


def test_threads_do_not_mix_their_outputs() -> None:
    """One thread trains and one evaluates the same layers, interleaved."""
    model = compressed(nn.Conv2d(4, 8, 3), random_norm(8), method=EightBit())
    x = torch.randn(5, 4, 12, 12)
    expected = model(x).detach()
    folded(model)
    wrong = []

    def calls(trains: bool) -> None:
        with torch.set_grad_enabled(trains):
            for _ in range(200):
                found = model(x).detach()
                wrong.append(not torch.allclose(found, expected, rtol=1e-4, atol=1e-4))

    threads = [threading.Thread(target=calls, args=(trains,)) for trains in (True, False, True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 600
    assert not any(wrong)


def test_a_single_image_is_refused_as_before() -> None:
    model = compressed(nn.Conv2d(4, 8, 3), random_norm(8))
    folded(model)
    with pytest.raises(ValueError, match="expected 4D input"):
        model(torch.randn(4, 12, 12))


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_a_trained_part_of_the_affine_map_is_computed_exactly(part: str) -> None:
    norm = random_norm(8)
    getattr(norm, part).requires_grad_(True)
    model = compressed(nn.Conv2d(4, 8, 3), norm)
    x = torch.randn(5, 4, 12, 12)
    expected = output_and_gradients(model, x)
    report = folded(model)
    assert report.replaced == ("1",)
    assert report.kept == {}
    assert not is_folded(model, x)
    assert_close_all(output_and_gradients(model, x), expected)


@pytest.mark.parametrize("change", ["training", "shift", "scale", "autocast"])
def test_what_changes_later_is_computed_as_before(change: str) -> None:
    model = compressed(nn.Conv2d(4, 8, 3), random_norm(8))
    folded(model)
    x, norm = torch.randn(5, 4, 12, 12), model.get_submodule("1")
    assert isinstance(norm, LeanBatchNorm2d)
    assert is_folded(model, x)
    if change == "training":
        norm.train()
    elif change in ("shift", "scale"):
        (norm.bias if change == "shift" else norm.weight).requires_grad_(True)
    plain = copy.deepcopy(model)
    unlean_(plain)
    with torch.autocast("cpu", enabled=change == "autocast"):
        assert not is_folded(model, x)
        if change != "autocast":
            assert_close_all(output_and_gradients(model, x), output_and_gradients(plain, x))


def test_changed_numbers_count_from_the_next_step() -> None:
    model = compressed(nn.Conv2d(4, 8, 3), random_norm(8))
    plain, x = copy.deepcopy(model), torch.randn(5, 4, 12, 12)
    folded(model)
    output_and_gradients(model, x)
    for each in (model, plain):
        norm = each.get_submodule("1")
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_var is not None
        norm.running_var.mul_(3)
        norm.weight.data.neg_()
    assert_close_all(output_and_gradients(model, x), output_and_gradients(plain, x))


def test_a_change_between_forward_and_backward_is_noticed() -> None:
    model = compressed(nn.Conv2d(4, 8, 3), random_norm(8))
    folded(model)
    output = model(torch.randn(5, 4, 12, 12))
    norm = model.get_submodule("1")
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    norm.running_var.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


class Branching(nn.Module):
    """The convolution's output is read by another layer as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), random_norm(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z: Tensor = self.norm(y) + y
        return z


def test_an_output_that_others_read_is_not_folded() -> None:
    plain = Branching().eval()
    compress_(plain, FULL, layers=1, lean=False)
    tracer = fx.Tracer()
    tracer.is_leaf_module = lambda layer, name: True  # type: ignore[method-assign]
    model = fx.GraphModule(plain, tracer.trace(plain))
    twin = copy.deepcopy(model)
    folded(twin)
    assert_all_equal(model, twin, (torch.randn(4, 4, 6, 6),))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_folds_are_copied_and_undone(copied: Callable[[nn.Module], nn.Module]) -> None:
    model = compressed(nn.Conv2d(4, 8, 3), random_norm(8))
    before, keys, x = types(model), list(model.state_dict()), torch.randn(5, 4, 12, 12)
    folded(model)
    twin = copied(model)
    conv, norm = twin.get_submodule("0"), twin.get_submodule("1")
    assert isinstance(conv, CompressedConvNorm2d)
    assert isinstance(norm, FusedBatchNorm2d)
    assert conv.norm is norm
    assert conv.norm is not model.get_submodule("1")
    assert is_folded(twin, x)
    assert list(twin.state_dict()) == keys
    unlean_(twin)
    assert types(twin) == before
    assert not is_folded(twin, x)
    assert_close_all(output_and_gradients(twin, x), output_and_gradients(model, x))


@pytest.mark.parametrize("lean", [False, True])
def test_a_normalisation_computes_itself_if_its_convolution_is_compressed_again(
    lean: bool,
) -> None:
    model = compressed(nn.Conv2d(4, 8, 3), random_norm(8))
    plain, x = copy.deepcopy(model), torch.randn(5, 4, 12, 12)
    folded(model)
    compress_(model, FULL, layers=["0"], lean=lean)
    assert not isinstance(model.get_submodule("1"), FusedBatchNorm2d)
    assert_close_all(output_and_gradients(model, x), output_and_gradients(plain, x))
    folded(model)
    assert is_folded(model, x)
    restore_(model)
    assert types(model) == {"0": nn.Conv2d, "1": nn.BatchNorm2d}
    assert_close_all(output_and_gradients(model, x), output_and_gradients(plain, x))


def test_compiled_models_fold_as_well() -> None:
    model = compressed(nn.Conv2d(4, 8, 3), random_norm(8), nn.ReLU())
    plain, x = copy.deepcopy(model), torch.randn(5, 4, 12, 12)
    folded(model)
    compiled = torch.compile(model, backend="eager")
    for _ in range(2):
        assert_close_all(output_and_gradients(compiled, x), output_and_gradients(plain, x))
        with torch.no_grad():
            assert torch.equal(compiled(x), plain(x))
