"""User models: split if possible, otherwise whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core.errors import Unsupported
from asi_core.layers.freezing import train_only_
from asi_core.layers.selection import last_layers
from asi_core.layers.surgery import compress_
from asi_core.methods import ASI
from asi_core.training.feature_files import FeatureDirectory
from asi_core.training.features import TOLERANCE, FeaturePool
from asi_core.training.frozen import FrozenStart, ImagesThemselves, frozen_start
from asi_core.units import MIB
from asi_core.zoo.build import build_model
from asi_core.zoo.cards import MODELS

COUNT = 40
CPU = torch.device("cpu")


class Own(nn.Module):
    def __init__(self, *, drops: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 6, 3, padding=1)
        self.drops = drops

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(self.first(x)))
        if self.drops:
            y = F.dropout(y, 0.5, self.training)
        return self.second(y).mean((2, 3))


class InPlace(Own):
    """Changes a value in place without using the result."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        self.act(y)
        return self.second(y).mean((2, 3))


class Chance(Own):
    def __init__(self, chance: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.norm.eval()
        self.chance = chance

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.chance(self.first(x))).mean((2, 3))


def attention(dropout: float) -> Callable[[Tensor], Tensor]:
    return lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=dropout)


class Branching(Own):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > -1e9 else x


class Images:
    def __init__(self) -> None:
        self.images = torch.randn(COUNT, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        self.read = 0

    def __call__(self, indices: Tensor) -> Tensor:
        self.read += len(indices)
        return self.images[indices]


def last_trained(model: nn.Module) -> nn.Module:
    model.requires_grad_(False)
    model.get_submodule("second").requires_grad_(True)
    compress_(model, ASI(ranks=3), layers=["second"])
    return model


def stored(start: FrozenStart, images: Images, pool: FeaturePool | None = None):  # type: ignore[no-untyped-def]
    return start.store(pool or FeaturePool(MIB), images, images_key="own", count=COUNT, device=CPU)


def test_a_user_model_trains_on_stored_features(tmp_path: Path) -> None:
    model = last_trained(Own().eval())
    start, images = frozen_start(model), Images()
    assert start.why_whole is None
    indices = torch.arange(COUNT)
    for _ in range(2):
        pool = FeaturePool(MIB, FeatureDirectory(tmp_path, MIB))
        found = start.tail(*stored(start, images, pool).values(indices))
        torch.testing.assert_close(found, model(images.images), rtol=1e-5, atol=1e-6)
    assert images.read == 64  # two chunks, once
    found.sum().backward()
    assert model.get_submodule("second").weight.grad is not None


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Branching().eval(), "Branching cannot be traced"),
        (Own(), r"layer norm \(BatchNorm2d\).*eval\(\)"),
        (Own(drops=True), r"layer norm"),
        (InPlace(F.relu_).eval(), "relu_ changes a value in place"),
        (InPlace(lambda x: x.relu_()).eval(), "relu_ changes a value in place"),
        (InPlace(nn.ReLU(inplace=True)).eval(), "act changes a value in place"),
        (InPlace(lambda x: F.relu(x, inplace=True)).eval(), "relu changes a value in place"),
        (InPlace(lambda x: F.relu(x, True)).eval(), "relu changes a value in place"),
        (Chance(nn.RReLU()), r"layer chance \(RReLU\)"),
        (Chance(nn.FractionalMaxPool2d(2, output_size=4)).eval(), "FractionalMaxPool2d"),
        (Chance(lambda x: F.rrelu(x, training=True)).eval(), "function rrelu"),
        (Chance(lambda x: F.gumbel_softmax(x, dim=1)).eval(), "function gumbel_softmax"),
        (Chance(attention(0.5)).eval(), "function scaled_dot_product_attention"),
    ],
)
def test_what_cannot_be_split_runs_whole_and_says_so(
    model: nn.Module, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    start, images = frozen_start(last_trained(model)), Images()
    assert re.search(why, str(start.why_whole))
    assert start.tail is model
    assert caplog.text.count("runs at every step") == 1
    store = stored(start, images)
    assert isinstance(store, ImagesThemselves)
    store.values(torch.arange(5))
    store.values(torch.arange(5))
    assert images.read == 10


@pytest.mark.parametrize(
    "steady",
    [nn.RReLU().eval(), nn.Softmax(1), lambda x: F.rrelu(x), attention(0.0)],
)
def test_where_chance_is_turned_off_the_model_is_split(steady: Callable[[Tensor], Tensor]) -> None:
    assert frozen_start(last_trained(Chance(steady))).why_whole is None


def test_chance_in_a_frozen_function_is_seen() -> None:
    model = Own(drops=True)
    model.norm.eval()
    assert "function dropout" in str(frozen_start(last_trained(model)).why_whole)
    assert frozen_start(last_trained(Own(drops=True).eval())).why_whole is None


def test_nothing_trained_is_refused() -> None:
    with pytest.raises(Unsupported, match="no parameter"):
        frozen_start(Own().requires_grad_(False))


@pytest.mark.parametrize("name", MODELS)
def test_kept_features_lead_to_the_whole_networks_results(name: str, tmp_path: Path) -> None:
    """For every model of the zoo, within the tolerance of `features`; in both formats of memory."""
    card = MODELS[name]
    model = build_model(name, 10, seed=0, pretrained=False)
    layers = last_layers(card.trainable_names(model.named_modules()), 4)
    train_only_(model, layers, [card.head], train_norm=False)
    size = card.native_size if card.fixed_size else 64
    images = torch.randn(6, 3, size, size, generator=torch.Generator().manual_seed(0))
    start = frozen_start(model)
    assert start.why_whole is None
    store = start.store(
        FeaturePool(MIB, FeatureDirectory(tmp_path, 256 * MIB)),
        lambda indices: images[indices],
        images_key=name,
        count=len(images),
        device=CPU,
    )
    values = store.values(torch.arange(6))
    assert store.filled_count == 6
    with torch.no_grad():
        expected = model(images)
        found = [start.tail(*values)]
        start.tail.to(memory_format=torch.channels_last)
        found.append(start.tail(*values))
    for each in found:
        assert float((each - expected).abs().max() / expected.abs().max()) < TOLERANCE
