from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from asi_core.costs.accounting import known_step_cost, step_cost, with_batch
from asi_core.costs.estimate import estimate
from asi_core.errors import NoClosedForm
from asi_core.layers.shapes import layer_shape
from asi_core.linalg.orders import WATCHED_PARTS, part_count
from asi_core.methods import ASI, HOSVD, GradientFilter, Vanilla
from asi_core.methods.costs import qr_macs, subspace_overhead
from asi_core.records import ConvGeometry, LayerShape, LinearGeometry
from tests.plugins import NonZero, Thinned

# The last two convolutions of ResNet18 at batch 64, 224 px: 512 channels on 7 x 7.
RESNET_LAYER = LayerShape(
    "layer4.1.conv2",
    (64, 512, 7, 7),
    (64, 512, 7, 7),
    (512, 512, 3, 3),
    ConvGeometry((1, 1), (1, 1, 1, 1), (1, 1), 1),
    has_input_gradient=True,
)
RESNET_LAYERS = [replace(RESNET_LAYER, name="layer4.1.conv1"), RESNET_LAYER]


def test_published_cells_of_resnet18_with_two_layers() -> None:
    """Table "ImageNet classification": vanilla 12.25 MiB, 29.60 G; gradient filter 4.00 MiB."""
    vanilla = step_cost(RESNET_LAYERS, Vanilla(), "paper")
    assert round(vanilla.activation_bytes / 2**20, 2) == 12.25
    assert round(vanilla.macs.total / 1e9, 2) == 29.60
    filtered = step_cost(RESNET_LAYERS, GradientFilter(patch=2), "paper")
    assert round(filtered.activation_bytes / 2**20, 2) == 4.00
    assert round(filtered.macs.total / 1e9, 2) == 29.60


def test_only_what_is_decomposed_is_counted() -> None:
    """A mode at a given full rank needs no basis; an explained variance needs all of them."""
    assert step_cost(RESNET_LAYERS, HOSVD(ranks=10_000), "exact").macs.overhead == 0
    (layer, *_) = RESNET_LAYERS
    ranks = (4, 4, *layer.input_shape[2:])
    found = HOSVD(explained_variance=0.8).macs(layer, ranks, "exact").overhead
    given = HOSVD(ranks=ranks).macs(layer, None, "exact").overhead
    height, width = layer.input_shape[2:]
    rest = prod(layer.input_shape) // height
    # The smaller of both Gram matrices, and its eigenvectors.
    least = min(height, rest) ** 2 * max(height, rest) + min(width, rest) ** 2 * max(width, rest)
    assert found - given >= least


def test_published_cost_of_hosvd_is_nearly_all_decomposition() -> None:
    """1581.42 G in the table; the part that depends on the ranks is below 0.5 %."""
    cost = step_cost(RESNET_LAYERS, HOSVD(ranks=8), "paper")
    assert cost.macs.total / 1e9 == pytest.approx(1581.42, rel=0.005)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 1, "bias": False},
    ],
)
def test_exact_vanilla_counts_are_pytorchs(settings: dict[str, Any]) -> None:
    """For dense convolutions, where PyTorch's own counter is right."""
    conv = nn.Conv2d(6, 10, **settings)
    x = torch.randn(4, 6, 9, 9, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        output = conv(x)
        forward = counter.get_total_flops()
        output.sum().backward()
    macs = Vanilla().macs(layer_shape("conv", conv, x, output), None, "exact")
    assert 2 * macs.forward == forward
    assert 2 * macs.total == counter.get_total_flops()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("sequential", [True, False])
def test_exact_overhead_of_asi_is_what_its_products_do(
    sequential: bool, every: int, layout: torch.memory_format
) -> None:
    """Matrix products as PyTorch counts them, and the orthonormalisations that it does not."""
    x, ranks = torch.randn(8, 12, 6, 6), (3, 4, 2, 3)
    conv = nn.Conv2d(12, 5, 3, bias=False)
    from asi_core.layers.surgery import compress_

    model = nn.Sequential(conv)
    x = x.contiguous(memory_format=layout)
    method = ASI(ranks=ranks, sequential=sequential, refresh_every=every, update="every_step")
    compress_(model, method, layers=1)
    for _ in range(every):
        model(x)
    with FlopCounterMode(display=False) as counter:
        for _ in range(every):
            output = model(x)
    forward = Vanilla().macs(layer_shape("conv", conv, x, output), None, "exact").forward
    products = counter.get_total_flops() // 2 - every * forward
    householder = sum(
        (2 * size * rank**2 - 2 * rank**3 // 3) * (1 if mode else every)
        for mode, (size, rank) in enumerate(zip(x.shape, ranks, strict=True))
    )
    counted = every * subspace_overhead(
        tuple(x.shape), ranks, sequential=sequential, refresh_every=every
    )
    # The mean over the steps is rounded down, mode by mode.
    assert 0 <= products + householder - counted < 3 * every


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("sizes", [(8, 12, 6, 6), (7, 12, 6, 6), (3, 40, 2, 2)], ids=str)
@pytest.mark.parametrize("update", ["one_step_late", "when_needed"])
def test_exact_overhead_of_other_updates_is_what_their_products_do(
    update: str, sizes: tuple[int, ...], layout: torch.memory_format
) -> None:
    """Over one rotation of the batch's parts, for one input: so that its factors go on fitting."""
    from asi_core.layers.surgery import compress_

    x, ranks = torch.randn(sizes).contiguous(memory_format=layout), (2, 4, 1, 1)
    conv = nn.Conv2d(sizes[1], 5, 1, bias=False)
    model = nn.Sequential(conv)
    method = ASI.model_validate({"ranks": ranks, "update": update})
    compress_(model, method, layers=1)
    # Constant over the batch, of which each part then captures the same share.
    x = x[:1].expand(sizes).contiguous(memory_format=layout)
    for _ in range(8):
        model(x)
    steps = 12
    with FlopCounterMode(display=False) as counter:
        for _ in range(steps):
            output = model(x)
    shape = layer_shape("conv", conv, x, output)
    products = counter.get_total_flops() // 2
    products -= steps * Vanilla().macs(shape, None, "exact").forward
    watch = 0
    iterated = range(4) if update == "one_step_late" else range(1)
    if update == "when_needed":
        left = sizes[0] * prod(ranks[1:])
        watch = (prod(sizes) + left) // part_count(sizes[0], WATCHED_PARTS)
    householder = sum(qr_macs(sizes[mode], ranks[mode]) for mode in iterated)
    counted = steps * method.macs(shape, ranks, "exact").overhead
    # The mean over the parts is rounded down.
    assert 0 <= products + steps * (householder + watch) - counted < steps


@pytest.mark.parametrize("update", ["every_step", "one_step_late", "when_needed"])
def test_the_paper_counts_the_iterations_of_an_update(update: str) -> None:
    ranks, size = (16, 32, 4, 4), prod(RESNET_LAYER.input_shape)
    method = ASI.model_validate({"ranks": ranks, "update": update})
    each = [2 * size * rank + rank**3 for rank in ranks]
    expected = {
        "every_step": sum(each),
        "one_step_late": sum(each) - 2 * size * 32 * 3 // 4,
        "when_needed": each[0],
    }
    assert method.macs(RESNET_LAYER, None, "paper").overhead == expected[update]


def test_a_late_factor_is_counted_twice() -> None:
    (usual, late) = (
        {
            (convention, bits): ASI(ranks=8, bits=bits, update=update).saved_bytes(
                RESNET_LAYER, None, convention
            )
            for convention in ("paper", "exact")
            for bits in (32, 16, 8)
        }
        for update in ("every_step", "one_step_late")
    )
    own = {key: late[key] - usual[key] for key in late}
    assert own == {
        **{(convention, 32): 4 * 512 * 8 for convention in ("paper", "exact")},
        **{(convention, 16): 2 * 512 * 8 for convention in ("paper", "exact")},
        ("paper", 8): 512 * 8,
        ("exact", 8): (512 + 4) * 8,
    }


@pytest.mark.parametrize(
    "settings",
    [{"kernel_size": 1}, {"kernel_size": 3, "padding": 1}, {"kernel_size": 3, "stride": 2}],
)
def test_exact_weight_gradient_of_asi_is_what_its_products_do(settings: dict[str, Any]) -> None:
    conv = nn.Conv2d(12, 5, bias=False, **settings)
    model = nn.Sequential(conv)
    method = ASI(ranks=(3, 4, 2, 3))
    from asi_core.layers.surgery import compress_

    compress_(model, method, layers=1)
    x = torch.randn(8, 12, 6, 6)
    output = model(x)
    with FlopCounterMode(display=False) as counter:
        output.backward(torch.randn_like(output))
    macs = method.macs(layer_shape("conv", conv, x, output), (3, 4, 2, 3), "exact")
    assert macs.input_gradient == 0
    assert 2 * macs.weight_gradient == counter.get_total_flops()


def test_exact_weight_gradient_of_a_depthwise_layer_is_what_its_products_do() -> None:
    from asi_core.layers.surgery import compress_

    conv = nn.Conv2d(12, 12, 5, padding=2, groups=12, bias=False)
    model, ranks = nn.Sequential(conv), (6, 4, 1, 2)
    method = ASI(ranks=ranks)
    compress_(model, method, layers=1)
    x = torch.randn(8, 12, 6, 6)
    output = model(x)
    with FlopCounterMode(display=False) as counter:
        output.backward(torch.randn_like(output))
    macs = method.macs(layer_shape("conv", conv, x, output), ranks, "exact")
    # The products of the two factors' rows are element by element.
    of_factors = 6 * 6 * 1 * 2 * 5 * 5
    assert 2 * (macs.weight_gradient - of_factors) == counter.get_total_flops()


@pytest.mark.parametrize("sizes", [(8, 12), (8, 5, 12), (4, 3, 5, 12)])
def test_linear_layers_are_counted_as_pytorch_counts_them(sizes: tuple[int, ...]) -> None:
    """Forward, both gradients, and ASI's weight gradient, on inputs of two to four modes."""
    plain, x = nn.Linear(12, 7, bias=False), torch.randn(*sizes, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        output = plain(x)
        output.sum().backward()
    shape = layer_shape("linear", plain, x, output)
    assert 2 * Vanilla().macs(shape, None, "exact").total == counter.get_total_flops()

    from asi_core.layers.surgery import compress_

    ranks = tuple(max(size // 2, 1) for size in sizes)
    model = nn.Sequential(plain)
    compress_(model, ASI(ranks=ranks), layers=["0"])
    output = model(x.detach())
    with FlopCounterMode(display=False) as counter:
        output.backward(torch.randn_like(output))
    macs = ASI(ranks=ranks).macs(replace(shape, has_input_gradient=False), ranks, "exact")
    assert 2 * macs.weight_gradient == counter.get_total_flops()


def test_the_paper_counts_a_linear_layer_as_a_pointwise_convolution_without_width() -> None:
    """A linear layer on B x T x F against a 1 x 1 convolution on B x F x T x 1, rank 1 in width."""
    conv = LayerShape(
        "conv",
        (8, 12, 5, 1),
        (8, 7, 5, 1),
        (7, 12, 1, 1),
        ConvGeometry((1, 1), (0, 0, 0, 0), (1, 1), 1),
        True,
    )
    linear = LayerShape("linear", (8, 5, 12), (8, 5, 7), (7, 12), LinearGeometry(), True)
    assert Vanilla().macs(linear, None, "paper") == Vanilla().macs(conv, None, "paper")
    found = ASI(ranks=(2, 3, 4)).macs(linear, (2, 3, 4), "paper").weight_gradient
    assert found == 2 * 7 * 5 * 8 + 5 * 2 * 3 * 4 + 7 * 2 * 5 * 4 + 12 * 7 * 4


def test_grouped_layers_cost_a_groups_share() -> None:
    conv = nn.Conv2d(12, 12, 3, padding=1, groups=12)
    x = torch.randn(2, 12, 5, 5)
    shape = layer_shape("depthwise", conv, x, conv(x))
    assert Vanilla().macs(shape, None, "exact").forward == 2 * 12 * 25 * 9
    assert Vanilla().macs(shape, None, "paper").forward == 12 * 2 * 12 * 25 * 9


def test_estimate_of_a_zoo_model_adds_up() -> None:
    cost = estimate(
        "efficientnet_lite0",
        ASI(ranks=8),
        layers=4,
        batch_size=64,
        image_size=96,
        convention="exact",
    )
    names = [layer.shape.name for layer in cost.layers]
    assert names == [
        "blocks.15.expand_conv",
        "blocks.15.depthwise_conv",
        "blocks.15.project_conv",
        "conv_head",
    ]
    assert [layer.shape.has_input_gradient for layer in cost.layers] == [False, True, True, True]
    assert cost.activation_bytes == sum(layer.activation_bytes for layer in cost.layers)
    assert cost.macs.total == sum(layer.macs.total for layer in cost.layers)


def test_another_batch_size_changes_nothing_else() -> None:
    smaller = with_batch(RESNET_LAYER, 8)
    assert smaller.input_shape == (8, 512, 7, 7)
    assert with_batch(smaller, 64) == RESNET_LAYER


def test_without_a_closed_form_there_is_no_cost_by_formula() -> None:
    with pytest.raises(NoClosedForm, match=r"^Non-zero input has no closed form: measure it\.$"):
        step_cost(RESNET_LAYERS, NonZero(), "exact")
    assert known_step_cost(RESNET_LAYERS, NonZero(), "exact") is None
    found = known_step_cost(RESNET_LAYERS, Thinned(every=4), "exact")
    assert found is not None
    assert found.activation_bytes == 2 * 4 * 16 * 512 * 7 * 7
    # If no layer is trained, nothing is kept with any method.
    head = known_step_cost([], NonZero(), "exact")
    assert head is not None
    assert (head.activation_bytes, head.macs.total) == (0, 0)


class Needy(NonZero):
    """Has ranks that are unknown, and no closed form either."""

    def ranks_for(self, shape: LayerShape) -> None:
        raise AssertionError("asked for ranks that are of no use")


def test_ranks_are_not_requested_without_a_closed_form() -> None:
    with pytest.raises(NoClosedForm):
        step_cost(RESNET_LAYERS, Needy(), "exact")
