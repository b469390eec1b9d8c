"""Estimates, measurements, profiles and plans of networks that are nobody's but the user's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core import Compression, estimate, measure, plan, prepare_, profile
from asi_core.compression.verbs import layer_shapes
from asi_core.costs.measurement import SavedBytes
from asi_core.errors import InvalidInput, NoClosedForm
from asi_core.layers.compressed import CompressedLayer
from asi_core.linalg.tucker import hosvd, reconstruct
from asi_core.methods import ASI, Vanilla
from tests.compression.networks import LABELS, NAMES, X, loss, network

BATCH = (X, LABELS)


def config(**given: Any) -> Compression:
    usual = {"ranks": (2, 3, 4, 5), "layers": 2, "also_trained": "head"}
    return Compression("asi", **{**usual, **given})


def test_an_estimate_is_what_a_step_keeps() -> None:
    model = network()
    cost = estimate(model, config(), example=X)
    assert [layer.shape.name for layer in cost.layers] == NAMES
    assert [layer.shape.has_input_gradient for layer in cost.layers] == [False, True]
    prepare_(model, config())
    measured = measure(model, BATCH, loss)
    kept = {layer.name: layer.saved_bytes for layer in measured.layers}
    assert [layer.activation_bytes for layer in cost.layers] == [kept[name] for name in NAMES]


def test_an_estimate_follows_the_methods_of_single_layers() -> None:
    own = {"blocks.1.0": "vanilla", "blocks.2.0": {"ranks": 1}}
    cost = estimate(network(), config(per_layer=own), example=X)
    # The input itself; and a core of one number with a vector for each mode.
    assert [layer.activation_bytes for layer in cost.layers] == [4 * X.shape[0] * 8 * 144, 4 * 39]


def test_the_meta_device_gives_the_same_estimate_without_weights() -> None:
    with torch.device("meta"):
        model, x = network(), torch.empty(X.shape)
    assert estimate(model, config(), example=x) == estimate(network(), config(), example=X)


@pytest.mark.parametrize("convention", ["exact", "paper"])
def test_a_name_gives_the_estimate_of_the_zoo(convention: Any) -> None:
    from asi_core.costs.estimate import estimate as by_name

    size: Any = {"layers": 2, "batch_size": 4, "image_size": 64, "convention": convention}
    assert estimate("resnet18", ASI(ranks=3), **size) == by_name("resnet18", ASI(ranks=3), **size)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: estimate("resnet18", ASI(ranks=1)), InvalidInput, "got ASI, None, None, None"),
        (lambda: estimate(network(), ASI(ranks=1), example=X), InvalidInput, "a Compression and"),
        (lambda: estimate(network(), config()), InvalidInput, "got Compression and NoneType"),
        (
            lambda: estimate(network(), config(layers="unused"), example=X),
            InvalidInput,
            "must be called in a forward pass, got unused",
        ),
        (
            lambda: estimate(network(), Compression("asi", layers=1), example=X),
            InvalidInput,
            "depend on the data",
        ),
        (
            lambda: estimate(network(), Compression("nonzero", layers=1), example=X),
            NoClosedForm,
            "no closed form",
        ),
    ],
)
@pytest.mark.usefixtures("plugins")
def test_wrong_estimates_are_reported_in_one_sentence(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def snapshot(model: nn.Module) -> Any:
    return (
        [(name, type(m), m.training) for name, m in model.named_modules()],
        [(name, p.requires_grad, p.grad) for name, p in model.named_parameters()],
        [value.clone() for value in model.state_dict().values()],
    )


def assert_same(before: Any, after: Any) -> None:
    assert before[:2] == after[:2]
    assert all(torch.equal(one, other) for one, other in zip(before[2], after[2], strict=True))


def test_estimating_and_profiling_change_nothing() -> None:
    model = network().train()
    model.head.weight.requires_grad_(False)
    before = snapshot(model)
    estimate(model, config(), example=X)
    assert_same(before, snapshot(model))
    model.eval()
    before = snapshot(model)
    profile(model, [BATCH], loss, layers=2)
    assert_same(before, snapshot(model))


def test_a_failure_while_profiling_changes_nothing() -> None:
    model = network()
    before = snapshot(model)

    def broken(model: nn.Module, batch: object) -> Tensor:
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        profile(model, [BATCH], broken, layers=1)
    assert_same(before, snapshot(model))


def test_measured_bytes_are_those_that_pytorch_saves() -> None:
    model = network()
    prepare_(model, config())
    model(X).sum().backward()
    with SavedBytes(model) as saved:
        loss(model, BATCH)
    measured = measure(model, BATCH, loss)
    assert measured.saved_bytes == saved.total
    assert sum(measured.category_bytes.values()) == saved.total
    assert [layer.name for layer in measured.layers] == [*NAMES, "head"]


def test_a_profile_has_the_ranks_and_errors_of_a_full_decomposition() -> None:
    model = network().eval()
    found = {p.name: p for p in profile(model, [BATCH], loss, layers=2, shares=(0.6, 1.0))}
    x = model.blocks[:2](X).detach()
    layer = model.blocks[2][0]
    tucker = hosvd(x, explained_variance=0.6)
    candidate, whole = found["blocks.2.0"].candidates
    assert candidate.ranks == tucker.ranks
    assert (whole.ranks, whole.gradient_error) == (tuple(x.shape), 0.0)
    kept: list[Tensor] = []
    handle = layer.register_full_backward_hook(lambda m, i, o: kept.append(o[0]))
    loss(model, BATCH).backward()
    handle.remove()
    rebuilt = torch.nn.grad.conv2d_weight(
        reconstruct(tucker), layer.weight.shape, kept[0], padding=1
    )
    exact = layer.weight.grad
    assert exact is not None
    error = float((rebuilt - exact).norm())
    assert candidate.gradient_error == pytest.approx(error, rel=1e-3)


def test_a_plan_becomes_a_configuration_that_keeps_what_it_says() -> None:
    model = network().eval()
    made = plan(profile(model, [BATCH], loss, layers=2), budget_bytes=20_000)
    given = Compression.from_plan(made, also_trained=["head"])
    assert Compression.from_json(given.to_json()).to_json() == given.to_json()
    report = prepare_(model, given, example=X)
    kept = sum(layer.now_bytes or 0 for layer in report.layers)
    assert kept == made.total_bytes <= 20_000
    for name, ranks in made.ranks.items():
        layer = model.get_submodule(name)
        assert isinstance(layer, CompressedLayer)
        assert layer.method == ASI(ranks=ranks)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: {"batches": []}, "got no batch: give two batches"),
        (lambda m: {"layers": "unused"}, "got unused: leave it out of layers"),
        (lambda m: {"layers": "nowhere"}, "got 'nowhere'"),
    ],
)
def test_wrong_profiles_are_reported_in_one_sentence(
    change: Callable[[nn.Module], dict[str, Any]], message: str
) -> None:
    model = network()
    given: Any = {"batches": [BATCH], "layers": 1, **change(model)}
    with pytest.raises(InvalidInput, match=message):
        profile(model, given["batches"], loss, layers=given["layers"])


def test_compressed_layers_are_not_profiled() -> None:
    model = network()
    prepare_(model, config())
    with pytest.raises(InvalidInput, match=r"blocks\.1\.0, which is compressed: call restore_"):
        profile(model, [BATCH], loss, layers=2)


def test_a_plan_is_for_methods_with_ranks() -> None:
    made = plan(profile(network(), [BATCH], loss, layers=1), budget_bytes=20_000)
    with pytest.raises(InvalidInput, match="whose ranks can be set, got Vanilla"):
        Compression.from_plan(made, method=Vanilla())


class Decoder(nn.Module):
    """A decoder as large as one of a billion parameters, of attention and MLPs."""

    def __init__(self, width: int, depth: int, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(self._block(width) for _ in range(depth))
        self.head = nn.Linear(width, vocabulary, bias=False)

    @staticmethod
    def _block(width: int) -> nn.ModuleDict:
        names = {name: nn.Linear(width, width) for name in ("q_proj", "k_proj", "v_proj", "o_proj")}
        return nn.ModuleDict(
            {**names, "up": nn.Linear(width, 4 * width), "down": nn.Linear(4 * width, width)}
        )

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            assert isinstance(block, nn.ModuleDict)
            q, k, v = (block[f"{name}_proj"](x) for name in "qkv")
            x = x + block["o_proj"](F.scaled_dot_product_attention(q, k, v, is_causal=True))
            x = x + block["down"](F.gelu(block["up"](x)))
        y: Tensor = self.head(x)
        return y


def test_a_decoder_of_a_billion_parameters_is_estimated_without_weights() -> None:
    with torch.device("meta"):
        model = Decoder(width=2048, depth=18, vocabulary=32_000)
        tokens = torch.zeros(1, 512, dtype=torch.long)
    assert sum(p.numel() for p in model.parameters()) > 1e9
    began = time.perf_counter()
    cost = estimate(model, Compression("asi", ranks=32, layers=8), example=tokens)
    assert time.perf_counter() - began < 60, "no weight is touched"
    assert len(cost.layers) == 8
    assert cost.layers[-1].shape.input_shape == (1, 512, 4 * 2048)
    # A core of 1 x 32 x 32 and factors for tokens and features.
    assert cost.layers[-1].activation_bytes == 4 * (32 * 32 + 32 * (512 + 4 * 2048))


def test_shapes_are_one_per_call() -> None:
    shared = nn.Conv2d(3, 3, 1)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    shapes = layer_shapes(model, ["0"], torch.randn(2, 3, 4, 4))
    assert [shape.input_shape for shape in shapes] == [(2, 3, 4, 4)] * 2
