"""Which layers are meant by numbers, names, patterns and functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asi_core.errors import InvalidInput
from asi_core.layers.selection import choose_layers, matching


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.v_proj = nn.Linear(4, 4), nn.Linear(4, 4)
        self.mlp = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))


class Transformer(nn.Module):
    """Many linear layers, one convolution, and a classifier that is no block's."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 4, 4)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(4, 10)


class Convolutions(nn.Module):
    """Convolutions, one in an auxiliary classifier, and linear layers at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.shortcut = nn.Conv2d(3, 4, 1)
        self.last = nn.Conv2d(4, 4, 3)
        self.aux1 = nn.Sequential(nn.Conv2d(4, 4, 1))
        self.head = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (0, []),
        (2, ["shortcut", "last"]),
        (np.int64(1), ["last"]),
        ("all", ["first", "shortcut", "last"]),
        ("all-conv", ["first", "shortcut", "last", "aux1.0"]),
        ("all-linear", ["head.0", "head.1"]),
        ("last", ["last"]),
        ("re:(first|last)", ["first", "last"]),
        ("*st", ["first", "last"]),
        (["l??t", "aux1.*"], ["last", "aux1.0"]),
        (["head.1", "first"], ["first", "head.1"]),
        ((name for name in ("last", "re:first")), ["first", "last"]),
        (lambda name, layer: isinstance(layer, nn.Linear), ["head.0", "head.1"]),
        ([lambda name, layer: name == "last", "first"], ["first", "last"]),
    ],
)
def test_layers_of_a_convolutional_network(layers: Any, expected: list[str]) -> None:
    assert choose_layers(Convolutions(), layers) == expected


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (2, ["blocks.1.mlp.0", "blocks.1.mlp.2"]),
        ("q_proj", ["blocks.0.q_proj", "blocks.1.q_proj"]),
        ("mlp.2", ["blocks.0.mlp.2", "blocks.1.mlp.2"]),
        (r"re:blocks\.1\..*proj", ["blocks.1.q_proj", "blocks.1.v_proj"]),
        ("blocks.[1-9].?_proj", ["blocks.1.q_proj", "blocks.1.v_proj"]),
        # A pattern that matches blocks as well means the layers in them that match.
        (r"re:blocks\.0.*", [f"blocks.0.{n}" for n in ("q_proj", "v_proj", "mlp.0", "mlp.2")]),
    ],
)
def test_layers_of_a_transformer(layers: Any, expected: list[str]) -> None:
    assert choose_layers(Transformer(), layers) == expected


def test_what_is_excluded_is_not_counted() -> None:
    assert choose_layers(Convolutions(), 2, exclude="shortcut") == ["first", "last"]
    assert choose_layers(Convolutions(), "all", exclude=["re:s.*", "last"]) == ["first"]
    without = choose_layers(Transformer(), 2, exclude="mlp.2")
    assert without == ["blocks.1.v_proj", "blocks.1.mlp.0"]


def test_the_last_layers_are_the_last_that_are_called() -> None:
    called = ["last", "shortcut"]
    assert choose_layers(Convolutions(), 1, called=called) == ["shortcut"]
    assert choose_layers(Convolutions(), "all", called=called) == ["shortcut", "last"]
    assert choose_layers(Convolutions(), "first", called=called) == ["first"], "by its name"


def test_attention_of_pytorch_reads_a_weight_that_no_number_counts() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    assert choose_layers(nn.Sequential(layer), "all") == ["0.linear1", "0.linear2"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("lsat", r"got 'lsat': did you mean last"),
        (["first", "qqq"], r"got 'qqq': for example head.0, head.1"),
        ("head.*.*", r"got 'head.\*.\*': did you mean head"),
        ("re:(", r"must be a regular expression after 're:', got 're:\('"),
        ("re:nothing", "got 're:nothing'"),
        (4, "between 0 and 3, .* got 4"),
        (-1, "between 0 and 3, .* got -1"),
        (1.5, "must be a number, a name, a pattern, a function"),
        (lambda name, layer: False, "must choose at least one"),
    ],
)
def test_wrong_choices_are_reported_in_one_sentence(layers: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        choose_layers(Convolutions(), layers)
    assert "\n" not in str(caught.value)


def test_a_name_of_a_module_wins_over_the_end_of_another() -> None:
    model = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.ModuleDict({"a": nn.Linear(1, 1)})})
    assert matching(model, "a") == ["a"]
    assert matching(model, "re:.*a") == ["a", "b.a"]


class Twice(nn.Module):
    """One layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(1, 1, 1)
        self.two = self.one

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.two(self.one(x)))


def test_a_layer_of_two_names_is_chosen_once() -> None:
    assert choose_layers(Twice(), ["two", "one"]) == ["one"]
    assert choose_layers(Twice(), "two") == ["two"]
    assert choose_layers(Twice(), "all") == ["one"]
