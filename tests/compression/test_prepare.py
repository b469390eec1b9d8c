"""One call that freezes, compresses, makes lean and reports; and what it must not do."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from asi_core import Compression, compress_, prepare_, restore_
from asi_core.costs.measurement import SavedBytes
from asi_core.errors import InvalidInput, Unsupported
from asi_core.layers.compressed import CompressedLayer
from asi_core.methods import ASI, HOSVD, Vanilla
from tests.compression.networks import NAMES, X, network


def kept(model: nn.Module) -> int:
    with SavedBytes(model) as saved:
        _output = model(X)
    return saved.total


def config(**given: Any) -> Compression:
    return Compression("asi", **{"ranks": 3, "layers": 2, "also_trained": ["head"], **given})


def test_only_what_was_asked_for_is_trained_and_compressed() -> None:
    model = network()
    prepare_(model, config())
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {f"{n}.{p}" for n in (*NAMES, "head") for p in ("weight", "bias")}
    compressed = [n for n, m in model.named_modules() if isinstance(m, CompressedLayer)]
    assert compressed == NAMES


def test_the_report_has_the_bytes_that_pytorch_keeps() -> None:
    model, plain = network(), network()
    report = prepare_(model, config(), example=X)
    plain.eval().requires_grad_(False)
    for name in (*NAMES, "head"):
        plain.get_submodule(name).requires_grad_(True)
    assert report.before_bytes == kept(plain)
    assert report.now_bytes == kept(model)
    assert [layer.name for layer in report.layers] == NAMES
    assert [layer.input_shape for layer in report.layers] == [(6, 8, 12, 12)] * 2
    assert [layer.before_bytes for layer in report.layers] == [4 * 6 * 8 * 144] * 2
    # A core of 3 x 3 x 3 x 3 and a factor with three columns for each mode.
    assert [layer.now_bytes for layer in report.layers] == [4 * (81 + 3 * (6 + 8 + 12 + 12))] * 2
    assert report.trained_parameters == sum(
        p.numel() for p in model.parameters() if p.requires_grad
    )
    text = str(report)
    assert "blocks.1.0 Conv2d 3x3 ASI, rank 3 6 x 8 x 12 x 12" in " ".join(text.split())
    assert text.count("x less") == 3
    assert report.as_dict()["ratio"] == report.ratio == report.before_bytes / report.now_bytes


class Encoder(nn.Module):
    """A block of a transformer, and a classifier of its first token."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x))
        found: Tensor = self.head(self.mlp(x + self.attn(x, x, x, need_weights=False)[0])[:, 0])
        return found


def test_what_is_approximate_is_told() -> None:
    x = torch.randn(4, 33, 8)
    chosen = {"layers": ["first", "mlp.2"], "ranks": 3, "also_trained": ["head"]}
    exact, lossless, rounded = (
        prepare_(Encoder(), Compression("asi", **chosen, **more), example=x)
        for more in (
            {},
            {"recompute_attention": True},
            {"recompute_attention": True, "activation_bits": 8},
        )
    )
    assert exact.rounded == lossless.rounded == {}
    assert "approximate" not in str(lossless)
    assert rounded.rounded == {"norm": 8, "attn": 8, "mlp.1": 8}
    assert "approximate: 3 layers keep what their gradients need in 8 bits" in str(rounded)
    assert "in 8 bits" in {other.reason for other in rounded.others}
    assert exact.now_bytes is not None
    assert lossless.now_bytes is not None
    assert rounded.now_bytes is not None
    assert exact.now_bytes > lossless.now_bytes > rounded.now_bytes
    # A classifier of one token keeps one token.
    assert {o.name: o.nbytes for o in rounded.others}["head"] == 4 * 8 * 4


def test_without_an_example_there_are_no_bytes() -> None:
    report = prepare_(network(), config())
    assert report.ratio is None
    assert report.layers[0].now_bytes is None
    assert "kept per step" in str(report)


@pytest.mark.parametrize("fold", [False, True])
def test_at_full_rank_gradients_are_those_of_plain_fine_tuning(fold: bool) -> None:
    models = [network().double(), network().double()]
    prepare_(models[0], config(ranks=1000, fold=fold))
    models[1].requires_grad_(False).eval()
    for name in (*NAMES, "head"):
        models[1].get_submodule(name).requires_grad_(True)
    for model in models:
        model.train(model is models[0])
        model(X.double()).square().sum().backward()
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None and other.grad is not None:
            torch.testing.assert_close(one.grad, other.grad)


def test_statistics_stay_also_in_training_mode_and_in_copies() -> None:
    model = network()
    prepare_(model, config())
    norm = model.blocks[0][1]
    expected = norm.running_mean.clone()
    for one in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        one.train()
        one(X)
        assert torch.equal(one.blocks[0][1].running_mean, expected)
        assert one.training
    prepare_(model, config(freeze_statistics=False))
    model.train()
    model(X)
    assert not torch.equal(norm.running_mean, model.blocks[0][1].running_mean) or not torch.equal(
        expected, model.blocks[0][1].running_mean
    )


def test_trained_normalisations_are_those_after_the_first_trained_layer() -> None:
    model = network()
    prepare_(model, config(train_norm=True))
    norms = [block[1].weight.requires_grad for block in model.blocks]
    assert norms == [False, True, True]


def test_layers_may_have_methods_and_settings_of_their_own() -> None:
    model = network()
    prepare_(
        model,
        config(layers=3, per_layer={"blocks.1.0": {"ranks": 2}, "re:.*0.0": "vanilla"}),
        example=X,
    )
    assert not isinstance(model.blocks[0][0], CompressedLayer)
    assert model.blocks[0][0].weight.requires_grad
    assert [block[0].method for block in list(model.blocks)[1:]] == [ASI(ranks=2), ASI(ranks=3)]


def test_an_example_changes_nothing_of_the_model() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prepare_(model, config(ranks=None, explained_variance=0.8), example=X)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    layers = [m for m in model.modules() if isinstance(m, CompressedLayer)]
    assert [(m.memory.ranks, m.memory.factors, m.ranks) for m in layers] == [(None, {}, None)] * 2
    assert model.training


def test_a_batch_may_be_positional_arguments_or_keywords() -> None:
    for example in (X, (X, 2.0), {"x": X, "scale": 2.0}):
        assert prepare_(network(), config(), example=example).now_bytes is not None


def test_a_second_call_starts_from_the_plain_model() -> None:
    model = network()
    prepare_(model, config())
    report = prepare_(model, Compression(HOSVD(ranks=2), layers=1), example=X)
    compressed = [n for n, m in model.named_modules() if isinstance(m, CompressedLayer)]
    assert compressed == ["blocks.2.0"] == [layer.name for layer in report.layers]
    assert not model.head.weight.requires_grad
    restore_(model)
    assert not any(isinstance(m, CompressedLayer) for m in model.modules())


def snapshot(model: nn.Module) -> Any:
    return (
        {name: (id(m), type(m), m.training) for name, m in model.named_modules()},
        {name: p.requires_grad for name, p in model.named_parameters()},
        len(model._forward_hooks),
        len(model._forward_pre_hooks),
    )


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"layers": "unused"}, InvalidInput, "must be called in a forward pass, got unused"),
        ({"layers": "nowhere"}, InvalidInput, "got 'nowhere'"),
        ({"also_trained": "haed"}, InvalidInput, "did you mean head"),
        ({"per_layer": {"head": "hosvd"}}, InvalidInput, "among those that are trained"),
        ({"layers": ["head"], "method": "gradient_filter"}, Unsupported, "layer head is a Linear"),
        ({"method": "checkpointing"}, InvalidInput, "works layer by layer"),
    ],
)
@pytest.mark.parametrize("prepared", [False, True])
def test_a_failure_leaves_the_model_as_it_was(
    wrong: dict[str, Any], error: type[Exception], message: str, prepared: bool
) -> None:
    model = network().train()
    if prepared:
        prepare_(model, config(layers=1))
    before = snapshot(model)
    kind = wrong.pop("method", "asi")
    own = {"ranks": 3} if kind == "asi" else {}
    with pytest.raises(error, match=message):
        prepare_(model, Compression(kind, **{"layers": 2, **own, **wrong}), example=X)
    wrong["method"] = kind
    assert snapshot(model) == before


def test_an_example_that_does_not_fit_leaves_the_model_as_it_was() -> None:
    model = network()
    before = snapshot(model)
    with pytest.raises(RuntimeError):
        prepare_(model, config(), example=torch.randn(2, 5, 8, 8))
    assert snapshot(model) == before


@given(
    layers=st.one_of(
        st.integers(0, 3), st.lists(st.sampled_from(NAMES), max_size=2), st.just("re:.*")
    ),
    ranks=st.integers(1, 9),
    own=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 5), max_size=2),
    switches=st.fixed_dictionaries(
        {
            "train_norm": st.booleans(),
            "activation_bits": st.sampled_from([None, 8, 4]),
            "recompute_attention": st.booleans(),
        }
    ),
)
@settings(max_examples=30)
def test_a_configuration_survives_json(
    layers: Any, ranks: int, own: dict[str, int], switches: dict[str, Any]
) -> None:
    per_layer = {name: {"ranks": rank} for name, rank in own.items()}
    given_ = config(layers=layers, ranks=ranks, per_layer=per_layer, **switches)
    again = Compression.from_json(given_.to_json())
    assert again == given_ or again.to_json() == given_.to_json()
    assert again.method == ASI(ranks=ranks)
    assert again.per_layer == {name: ASI(ranks=rank) for name, rank in own.items()}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Compression("qwerty", layers=1), "got 'qwerty': choose"),
        (lambda: Compression("asi", rank=3, layers=1), "must be those of ASI.*its settings are"),
        (lambda: Compression("asi", ranks=3), "layers: field required"),
        (lambda: Compression(ASI(ranks=3), layers=1, ranks=4), "settings go with a method's kind"),
        (lambda: Compression("asi", layers=len).to_json(), "must name its layers"),
        (
            lambda: Compression("asi", ranks=3, layers=1, activation_bits=3),
            "activation bits must be 8 or 4, got 3",
        ),
        (
            lambda: Compression("asi", ranks=3, layers=1, activation_bits=8, lean=False),
            "need lean layers",
        ),
        (lambda: Compression.from_json("[1]"), "must be a JSON object with a method"),
    ],
)
def test_wrong_configurations_are_reported_in_one_sentence(make: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_method_by_its_name_has_usual_settings() -> None:
    assert Compression("asi", layers=1).method == ASI.usual()
    assert Compression("vanilla", layers=1).method == Vanilla()


@pytest.mark.parametrize("first", [False, True])
def test_freezing_before_and_after_compressing_are_the_same(first: bool) -> None:
    model, sizes = torchvision.models.resnet18(num_classes=4), []
    x = torch.randn(2, 3, 64, 64)
    for freeze_first in (first, not first):
        model = torchvision.models.resnet18(num_classes=4)
        if freeze_first:
            model.eval().requires_grad_(False)
        names = compress_(model, ASI(ranks=2), layers=2)
        model.eval().requires_grad_(False)
        for name in (*names, "fc"):
            model.get_submodule(name).requires_grad_(True)
        with SavedBytes(model) as saved:
            _output = model(x)
        sizes.append(saved.total)
    assert sizes[0] == sizes[1]


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Of compressing, without those of threads of earlier tests."""
    rooms = "asi_core.compression", "asi_core.layers"
    own = [r for r in caplog.records if r.name.startswith(rooms)]
    return [r.getMessage() for r in own if r.levelname == "WARNING"]


def test_a_model_that_trains_all_else_is_warned_about_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = torchvision.models.resnet18(num_classes=4)
    compress_(model, ASI(ranks=2), layers=2)
    for _ in range(2):
        model(torch.randn(2, 3, 32, 32))
    (warning,) = _warnings(caplog)
    assert warning.startswith("2 layers are compressed, and 19 others are trained")


class ReadsWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.called, self.read = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.called(x), self.read.weight)


def test_a_layer_whose_weight_is_read_is_reported_in_the_first_step() -> None:
    model = ReadsWeight()
    compress_(model, ASI(ranks=2), layers=["called", "read"])
    with pytest.raises(Unsupported, match="layer read is never called"):
        model(torch.randn(3, 4)).sum().backward()
    for copied in (copy.deepcopy(model), torch.load(saved(model), weights_only=False)):
        assert len(copied._forward_hooks) == 0, "it has been reported"


def saved(model: nn.Module) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return file


def test_what_transforms_of_pytorch_cannot_do_is_refused_in_one_sentence() -> None:
    model = network()
    prepare_(model, config())
    compressed = nn.Sequential(nn.Conv2d(3, 4, 3))
    compress_(compressed, ASI(ranks=2), layers=1)
    with pytest.raises(Unsupported, match=r"torch\.fx cannot trace through a CompressedConv2d"):
        torch.fx.symbolic_trace(compressed)
    parameters = dict(model.named_parameters())
    with pytest.raises(Unsupported, match=r"torch\.func cannot transform a (Compressed|Lean)"):
        torch.func.grad(lambda p: torch.func.functional_call(model, p, (X,)).sum())(parameters)
    with pytest.raises(Unsupported, match="no second derivative"):
        model(X).sum().backward(create_graph=True)


def test_a_prepared_layer_says_what_it_is() -> None:
    model = network()
    prepare_(model, config(fold=False))
    assert "ASI, rank 3)" in repr(model)
    model(X)
    assert "ASI, rank 3, ranks 3·3·3·3)" in repr(model)


def test_restoring_undoes_all_but_the_freezing() -> None:
    model = network()
    plain = snapshot(model)
    prepare_(model, config())
    restore_(model)
    types = {name: kind for name, (_, kind, _) in plain[0].items()}
    assert {name: type(m) for name, m in model.named_modules()} == types
    assert snapshot(model)[2:] == (0, 0), "no hook is left"
    model.train()
    assert all(module.training for module in model.modules())
    assert not model.blocks[0][0].weight.requires_grad


def test_trained_normalisations_are_no_reason_for_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = network()
    prepare_(model, config(layers=1, train_norm=True))
    model(X).sum().backward()
    assert _warnings(caplog) == []
