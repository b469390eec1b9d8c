from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from asi_core.costs.measurement import SavedBytes
from asi_core.costs.meters import MetersDisagree
from asi_core.errors import InvalidInput, Unsupported
from asi_core.layers.surgery import compress_
from asi_core.methods import ASI
from asi_core.methods.base import WarmStart
from tests.costs.networks import Applied, Caching, Hiding, Residual, batch, categories, step

SHAPE = (2, 4, 6, 6)
VALUES = 4 * 2 * 4 * 6 * 6  # bytes of a float32 tensor of that shape


def classifier() -> nn.Sequential:
    """Only the first convolution and the head are trained."""
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(3, 4, 1).requires_grad_(False),
        nn.BatchNorm2d(4).requires_grad_(False),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(4 * 3 * 3, 5),
    )
    return model.eval()


def test_categories_of_a_small_classifier_are_those_counted_by_hand() -> None:
    def loss_of(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, torch.arange(4))

    measured = step(classifier(), batch(4, 2, 6, 6), ["0"], "7", loss_of)
    assert categories(measured) == {
        "trained layer inputs": 4 * (4 * 2 * 6 * 6),
        # PyTorch keeps a frozen convolution's input. It is ReLU's result, counted only here.
        "other layer inputs": 4 * (4 * 3 * 6 * 6),
        "normalisation": 4 * (4 * 4 * 6 * 6),
        # The input in 4 bytes, the indices of the maxima in 8.
        "pooling": 4 * (4 * 4 * 6 * 6) + 8 * (4 * 4 * 3 * 3),
        # The head's input, log-softmax, labels, and the sum of their weights.
        "head and loss": 4 * (4 * 36) + 4 * (4 * 5) + 8 * 4 + 4,
    }
    assert measured.saved_bytes == sum(measured.category_bytes.values())
    assert [layer.saved_bytes for layer in measured.layers] == [4 * (4 * 2 * 6 * 6)]
    assert measured.peak_bytes is None


def test_every_category_is_named_even_if_nothing_is_in_it() -> None:
    assert list(step(Applied(Tensor.relu), batch(*SHAPE)).category_bytes) == [
        "trained layer inputs",
        "other layer inputs",
        "activation functions",
        "normalisation",
        "pooling",
        "head and loss",
        "other",
    ]


@pytest.mark.parametrize(
    ("function", "category", "tensors"),
    [
        (F.relu, "activation functions", 1),
        (torch.relu, "activation functions", 1),
        (lambda x: x.relu_(), "activation functions", 1),
        (lambda x: F.relu6(x, inplace=True), "activation functions", 1),
        (lambda x: x.clamp(0, 6), "activation functions", 1),
        (nn.ReLU6(inplace=True), "activation functions", 1),
        (nn.Hardswish(), "activation functions", 1),
        (lambda x: F.avg_pool2d(x, 2), "pooling", 1),
        (nn.AdaptiveAvgPool2d(3), "pooling", 1),
        (nn.AdaptiveAvgPool2d(1), None, 0),
        (lambda x: x.mean((2, 3)), None, 0),
        (lambda x: x * x.sigmoid(), "activation functions", 1),
        (lambda x: x @ torch.ones(6, 6), "other layer inputs", 6 * 6 / (2 * 4 * 6 * 6)),
        (lambda x: F.scaled_dot_product_attention(x, x, x), "other layer inputs", None),
        (nn.MultiheadAttention(6, 2), "other layer inputs", None),
        (nn.GroupNorm(2, 4), "normalisation", None),
        (lambda x: F.layer_norm(x, (6, 6)), "normalisation", None),
        (lambda x: F.dropout(x, 0.5), "other", 1),
        (lambda x: F.dropout(x, 0.5, training=False), None, 0),
        (lambda x: x.exp(), "other", 1),
    ],
)
def test_functions_and_modules_find_their_category(
    function: Any, category: str | None, tensors: float | None
) -> None:
    """`tensors`: bytes kept, in multiples of the input; None if kernels differ."""
    if isinstance(function, nn.MultiheadAttention):
        attention = function.requires_grad_(False)
        model = Applied(lambda x: attention(*3 * [x.flatten(0, 1)])[0])
        model.attention = attention
    else:
        model = Applied(function)
    found = categories(step(model, batch(*SHAPE), ["conv"]))
    assert found.pop("trained layer inputs") == VALUES
    if category == "activation functions" and tensors and "other" in found:
        assert found.pop("other") == VALUES  # the other factor of a product
    if tensors is None:
        assert set(found) == {category}
        assert found[category] >= VALUES
    else:
        assert found == ({category: round(tensors * VALUES)} if category else {})


def test_the_first_category_wins_where_several_save_one_storage() -> None:
    """The activation's result is the second convolution's input."""
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))
    measured = step(model, batch(*SHAPE), ["0", "2"])
    assert categories(measured) == {"trained layer inputs": 2 * VALUES}
    frozen = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.AvgPool2d(2))
    assert categories(step(frozen, batch(*SHAPE), ["0"])) == {
        "trained layer inputs": VALUES,
        "activation functions": VALUES,
    }


def test_compressed_inputs_are_still_kept_by_the_activations() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))
    compress_(model, ASI(ranks=(1, 2, 2, 2)), layers=2, lean=False)
    measured = step(model, batch(*SHAPE), ["0", "2"])
    own = 4 * (1 * 2 * 2 * 2 + 2 * 1 + 4 * 2 + 6 * 2 + 6 * 2)
    assert categories(measured) == {
        "trained layer inputs": 2 * own,
        "activation functions": VALUES,
    }
    assert [layer.saved_bytes for layer in measured.layers] == [own, own]
    assert [layer.ranks for layer in measured.layers] == [(1, 2, 2, 2)] * 2


def test_shortcuts_and_in_place_activations_are_counted_once() -> None:
    """Kept: both inputs, the second being ReLU's result; what is normalised; the result."""
    measured = step(Residual().eval(), batch(*SHAPE), ["conv1", "conv2"])
    assert categories(measured) == {
        "trained layer inputs": 2 * VALUES,
        "activation functions": VALUES,
        "normalisation": 2 * VALUES,
    }
    assert [layer.saved_bytes for layer in measured.layers] == [VALUES, VALUES]


def test_an_input_that_two_layers_read_is_counted_with_the_first() -> None:
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.left(x) + self.right(x)

    measured = step(Forked(), batch(*SHAPE), ["left", "right"])
    assert measured.saved_bytes == VALUES
    assert [layer.saved_bytes for layer in measured.layers] == [VALUES, 0]


def test_a_layer_called_twice_keeps_both_inputs() -> None:
    conv, relu = nn.Conv2d(4, 4, 1), nn.ReLU()
    measured = step(nn.Sequential(conv, relu, conv, relu), batch(*SHAPE), ["0"])
    assert categories(measured) == {
        "trained layer inputs": 2 * VALUES,
        "activation functions": VALUES,
    }
    assert measured.layers[0].saved_bytes == 2 * VALUES


def test_a_layer_that_failed_is_left() -> None:
    class Failing(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError

    class Trying(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)
            self.failing = nn.Sequential(Failing(4))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            try:
                out: Tensor = self.failing(y)
            except ValueError:
                out = y.exp()
            return out

    found = categories(step(Trying(), batch(*SHAPE), ["conv"]))
    assert found == {"trained layer inputs": VALUES, "other": VALUES}


def test_a_view_counts_with_all_of_its_storage() -> None:
    class First(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward((2 * x)[:, :1])
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return grad_output

    measured = step(Applied(First.apply), batch(*SHAPE), ["conv"])
    assert categories(measured) == {"trained layer inputs": VALUES, "other": VALUES}


def test_a_batch_that_is_a_view_counts_with_all_of_its_storage() -> None:
    def make() -> tuple[Tensor, ...]:
        return (torch.ones(10, 4, 6, 6)[:2],)

    assert step(Applied(Tensor.relu), make, ["conv"]).layers[0].saved_bytes == 5 * VALUES


def test_a_tensor_hidden_on_the_context_is_found() -> None:
    with pytest.raises(MetersDisagree) as caught:
        step(Applied(Hiding.apply), batch(*SHAPE), ["conv"])
    assert caught.value.saved_bytes == VALUES
    assert caught.value.living_bytes == 2 * VALUES
    assert str(caught.value) == (
        f"autograd saves {VALUES} bytes for backward but {2 * VALUES} bytes stay alive after the "
        f"forward pass: the largest storage that differs, {VALUES} bytes of shape {SHAPE} from the "
        "model, is kept alive by something else."
    )


def test_an_input_kept_by_a_module_is_found() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 1), Caching(), nn.ReLU())
    with pytest.raises(MetersDisagree, match=rf"{VALUES} bytes of shape .* from 0, is kept alive"):
        step(model, batch(*SHAPE), ["0"])


def test_a_batch_that_is_still_referenced_is_found() -> None:
    (held,) = batch(*SHAPE)()
    model = nn.Sequential(nn.Conv2d(4, 4, 1))
    compress_(model, ASI(ranks=1), layers=1)
    with pytest.raises(MetersDisagree, match="from the batch, is kept alive"):
        step(model, lambda: (held,), ["0"])


def test_what_is_saved_for_an_unused_result_is_found() -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            y.exp()
            return y

    with pytest.raises(MetersDisagree, match="is freed again"):
        step(Forgetful(), batch(*SHAPE), ["conv"])


def test_constants_and_new_buffers_are_no_disagreement() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)
            self.shift, self.scale = torch.ones(9, 6), torch.ones(6, 6)
            self.register_buffer("mean", torch.zeros(4))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            self.mean = 0.9 * self.mean + 0.1 * y.detach().mean((0, 2, 3))
            return (y + self.shift[:6]) * self.scale * 2.0

    measured = step(Constant(), batch(*SHAPE), ["conv"])
    assert categories(measured) == {"trained layer inputs": VALUES, "other": 4 * 6 * 6}


def test_what_is_made_once_and_stays_is_a_constant() -> None:
    """As attention masks: the first step makes them, the counted one finds them."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)
            self.mask: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            if self.mask is None:
                self.mask = torch.ones(6, 6)
            masked: Tensor = self.conv(x) + self.mask
            return masked

    found = categories(step(Masked(), batch(*SHAPE), ["conv"]))
    assert found == {"trained layer inputs": VALUES}


def test_garbage_that_is_not_yet_collected_is_not_kept() -> None:
    def littering(x: Tensor) -> Tensor:
        garbage: list[Any] = [2 * x.detach()]
        garbage.append(garbage)
        return x.relu()

    found = categories(step(Applied(littering), batch(*SHAPE), ["conv"]))
    assert found == {"trained layer inputs": VALUES, "activation functions": VALUES}


def test_what_a_warm_start_carries_is_not_kept_for_backward() -> None:
    class Carrying(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = WarmStart()

        def forward(self, x: Tensor) -> Tensor:
            self.memory.factors = {0: x.detach().mean((1, 2, 3)), 1: x.detach().mean((0, 2, 3))}
            # One of the two factors is saved as well.
            return x * self.memory.factors[1].view(4, 1, 1)

    model = nn.Sequential(nn.Conv2d(4, 4, 1), Carrying())
    found = categories(step(model, batch(*SHAPE), ["0"]))
    assert found == {"trained layer inputs": VALUES, "other": 4 * 4}


def test_warm_starts_count_where_they_are_saved() -> None:
    """Between steps only the layer holds them, so the counts agree."""
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
    compress_(model, ASI(ranks=2), layers=2)
    model[1].requires_grad_(False)
    measured = step(model, batch(*SHAPE), ["0"])
    factors = model[0].memory.factors
    assert set(factors) == {1, 2, 3}  # two images at rank two need no factor
    kept = 4 * 2**4 + sum(factor.nbytes for factor in factors.values())
    assert measured.layers[0].saved_bytes == kept


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_block_keeps_its_input_only(reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.block = nn.Conv2d(4, 4, 1), Residual().eval()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = checkpoint(self.block, self.conv(x), use_reentrant=reentrant)
            return y

    measured = step(Checkpointed(), batch(*SHAPE), ["conv", "block.conv1"])
    assert categories(measured) == {"trained layer inputs": VALUES, "other": VALUES}
    assert [layer.saved_bytes for layer in measured.layers] == [VALUES, 0]


def test_both_hook_meters_count_the_same() -> None:
    model = classifier()
    measured = step(model, batch(4, 2, 6, 6), ["0"], "7")
    with SavedBytes(model) as meter:
        model(*batch(4, 2, 6, 6)())
    assert meter.total == measured.saved_bytes


def test_a_batch_that_waits_for_its_gradient_is_found() -> None:
    """The graph holds such a leaf, though autograd saves no byte of it here."""

    def make() -> tuple[Tensor, ...]:
        return (torch.ones(SHAPE, requires_grad=True),)

    with pytest.raises(MetersDisagree, match="from the batch, is kept alive"):
        step(nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 1)), make, ["1"])
    measured = step(nn.Sequential(nn.Conv2d(4, 4, 1)), make, ["0"])
    assert categories(measured) == {"trained layer inputs": VALUES}


def test_compiled_models_are_refused() -> None:
    """Hooks would read zero there."""
    with pytest.raises(Unsupported, match="the model is compiled"):
        step(torch.compile(classifier(), backend="eager"), batch(4, 2, 6, 6))
    model = classifier()
    model[1].compile(backend="eager")
    with pytest.raises(Unsupported, match=r"^1 is compiled"):
        step(model, batch(4, 2, 6, 6))


def test_tensors_without_storage_are_refused() -> None:
    model = Applied(lambda x: x.to_mkldnn().to_dense())
    with pytest.raises(Unsupported, match=r"torch\._mkldnn has no storage"):
        step(model, batch(*SHAPE))


def test_a_model_without_anything_trained_is_refused() -> None:
    with pytest.raises(InvalidInput, match="must depend on a trained parameter"):
        step(classifier().requires_grad_(False), batch(4, 2, 6, 6))


def test_nothing_of_the_model_is_changed() -> None:
    model = classifier()
    model[0].weight.grad = before = torch.ones_like(model[0].weight)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    step(model, batch(4, 2, 6, 6), ["0"], "7")
    assert model[0].weight.grad is before
    assert model[7].weight.grad is None
    assert bool((before == 1).all())
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_failing_model_leaves_no_hook_behind() -> None:
    model = classifier()
    with pytest.raises(RuntimeError):
        step(model, batch(4, 9, 6, 6), ["0"], "7")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not torch.overrides._get_current_function_mode_stack()
