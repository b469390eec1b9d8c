"""EfficientNet-Lite0 with its published weights, on real images."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from asi_core.datasets import Split, load_dataset
from asi_core.training.batches import ImageLoader
from asi_core.zoo.build import build_architecture, build_model
from asi_core.zoo.cards import MODELS
from asi_core.zoo.checkpoints import read_checkpoint
from asi_core.zoo.efficientnet_lite0 import EfficientNetLite0
from asi_core.zoo.weights import fetched_weights

CARD = MODELS["efficientnet_lite0"]


def test_every_published_number_finds_its_place() -> None:
    state = EfficientNetLite0.adapt_keys(read_checkpoint(fetched_weights(CARD)))
    model = build_architecture(CARD)
    assert set(state) == set(model.state_dict())
    pretrained = build_model(CARD.name, 10, seed=0).state_dict()
    for key, value in state.items():
        assert key.startswith("fc.") or torch.equal(pretrained[key], value)


def test_padding_is_tensorflows_same() -> None:
    """At stride 2 and an even size, the last window ends one pixel outside."""
    model = EfficientNetLite0().eval()
    sizes = []
    for block in model.blocks:
        block.depthwise_conv.register_forward_hook(lambda m, i, o: sizes.append(o.shape[-1]))
    model(torch.zeros(1, 3, 96, 96))
    assert sizes == [48, 24, 24, 12, 12, 6, 6, 6, 6, 6, 6, 3, 3, 3, 3, 3]
    assert model.stem_pad.padding == (0, 1, 0, 1)


def test_the_head_starts_from_its_seed() -> None:
    def head(seed: int) -> Tensor:
        weight = build_model(CARD.name, 7, seed=seed).get_submodule("fc").weight
        assert isinstance(weight, Tensor)
        return weight

    assert head(0).shape == (7, 1280)
    assert torch.equal(head(0), head(0))
    assert not torch.equal(head(0), head(1))


def pooled_features(model: nn.Module, split: Split, count: int) -> Tensor:
    loader = ImageLoader(split, CARD, 96, torch.device("cpu"))
    with torch.no_grad():
        chunks = [model(loader(chunk)) for chunk in torch.arange(count).split(100)]
    return torch.cat(chunks)


@cache
def probed_accuracy() -> float:
    """Logistic regression on pooled features: detects wrong weights, padding and input range."""
    data = load_dataset("fashion_mnist_small")
    model = build_model(CARD.name, 10, seed=0)
    model.set_submodule("fc", nn.Identity())
    train, test = (pooled_features(model, s, n) for s, n in ((data.train, 1000), (data.test, 500)))
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    train, test = (train - mean) / deviation, (test - mean) / deviation
    weight = torch.zeros(1280, 10, requires_grad=True)
    labels = torch.from_numpy(data.train.labels[:1000])
    optimiser = torch.optim.LBFGS([weight], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = nn.functional.cross_entropy(train @ weight, labels) + 0.01 * weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    predicted = (test @ weight).argmax(1)
    return float((predicted == torch.from_numpy(data.test.labels[:500])).float().mean())


def test_features_of_real_images_separate_classes() -> None:
    assert probed_accuracy() > 0.78
