"""The table of layer shapes compared with traces; the script checks every entry."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asi_core.errors import InvalidInput
from asi_core.layers.freezing import train_only_
from asi_core.zoo.build import build_model
from asi_core.zoo.cards import LARGEST_IMAGE, MODELS, SMALLEST_IMAGE, ModelCard
from asi_core.zoo.parameters import parameter_count
from asi_core.zoo.shapes import TABLE, layer_facts, tabled_sizes, trained_layer_shapes
from asi_core.zoo.tracing import traced_layer_shapes

CARDS = pytest.mark.parametrize("card", MODELS.values(), ids=lambda card: card.name)


@CARDS
def test_the_table_has_every_layer_at_every_offered_size(card: ModelCard) -> None:
    facts = layer_facts(card.name)
    assert len(facts) == card.layer_count
    expected = (224,) if card.fixed_size else (32, 64, 96, 128, 160, 192, 224, 256)
    assert tabled_sizes(card) == expected
    assert all(tuple(layer.sizes) == expected for layer in facts)


def test_the_table_is_small() -> None:
    assert len(files("asi_core").joinpath(TABLE).read_bytes()) < 100_000


@CARDS
@settings(max_examples=3)
@given(data=st.data())
def test_the_table_equals_a_trace(card: ModelCard, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, card.layer_count))
    batch, size = data.draw(st.integers(1, 64)), data.draw(st.sampled_from(tabled_sizes(card)))
    found = trained_layer_shapes(card.name, count, batch, size)
    assert found == traced_layer_shapes(card.name, count, batch, size)


@CARDS
@settings(max_examples=3)
@given(data=st.data())
def test_layers_by_name_equal_a_trace(card: ModelCard, data: st.DataObject) -> None:
    names = [layer.name for layer in layer_facts(card.name)]
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=5, unique=True))
    size = tabled_sizes(card)[0]
    found = trained_layer_shapes(card.name, " ".join(chosen), 2, size)
    assert found == traced_layer_shapes(card.name, " ".join(chosen), 2, size)
    assert [shape.name for shape in found] == [name for name in names if name in chosen]


def test_a_shortcut_alone_reads_what_one_of_two_branches_writes() -> None:
    """An earlier layer of either branch gives the input a gradient, whichever is the last."""
    for branch in ("layer4.0.conv2", "layer4.0.downsample.0"):
        first, last = trained_layer_shapes("resnet18", f"{branch} layer4.1.conv1", 2, 64)
        assert (first.has_input_gradient, last.has_input_gradient) == (False, True)
    apart = trained_layer_shapes("resnet18", "layer4.0.conv* layer4.0.downsample.0", 2, 64)
    assert [shape.has_input_gradient for shape in apart] == [False, True, False]


@pytest.mark.parametrize("count", range(2, 7))
def test_a_shortcut_needs_no_input_gradient_before_its_block_is_trained(count: int) -> None:
    """`layer4.0.downsample.0` comes third from the end, but reads what the sixth writes."""
    assert trained_layer_shapes("resnet18", count, 2, 64) == traced_layer_shapes(
        "resnet18", count, 2, 64
    )


@CARDS
def test_all_sizes_that_are_allowed_can_be_read(card: ModelCard) -> None:
    if not card.fixed_size:
        for size in (SMALLEST_IMAGE, SMALLEST_IMAGE + 1, LARGEST_IMAGE):
            assert len(traced_layer_shapes(card.name, "all", 1, size)) == card.layer_count
    for size in (-1, 0, 1, 3, 10, SMALLEST_IMAGE - 1, LARGEST_IMAGE + 1, 10**20):
        with pytest.raises(InvalidInput, match="image size must be at"):
            trained_layer_shapes(card.name, 1, 1, size)


def test_other_sizes_are_traced() -> None:
    (last,) = trained_layer_shapes("resnet18", 1, 2, 80)
    assert last.input_shape == (2, 512, 3, 3)


@CARDS
def test_trained_parameters_are_those_of_the_real_model(card: ModelCard) -> None:
    model = build_model(card.name, 7, seed=0, pretrained=False)
    names = [layer.name for layer in layer_facts(card.name)]
    for count in (0, 1, 4, card.layer_count):
        train_only_(model, names[len(names) - count :], [card.head], train_norm=False)
        found = parameter_count(card.name, count, 7)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert found.trained == found.layers + found.head == trained
        assert found.trained + found.frozen == sum(p.numel() for p in model.parameters())


def test_wrong_counts_are_reported() -> None:
    with pytest.raises(InvalidInput, match="between 0 and 20, as ResNet-18 has, got 21"):
        trained_layer_shapes("resnet18", 21, 2, 64)


def test_an_estimate_imports_no_torch() -> None:
    code = (
        "import sys; from asi_core.costs.estimate import estimate;"
        "from asi_core.methods import ASI;"
        "print(estimate('swin_t', ASI(ranks=2), layers='all', batch_size=8, image_size=64,"
        " convention='exact').activation_bytes > 0, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("sizes", [(0, 96), (-1, 96), (8, 0), (8, -32)])
def test_what_is_no_batch_or_image_is_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(InvalidInput, match="must be at least"):
        trained_layer_shapes("mobilenet_v2", 2, *sizes)
