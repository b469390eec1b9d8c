from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, symbolic_trace

from asi_core.training.features import CHUNK, FeaturePool, FrozenPart

COUNT = 100


class Prefix(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.late = nn.Conv2d(4, 2, 1)


class Short(Prefix):
    def forward(self, x):  # type: ignore[no-untyped-def]
        return (self.conv(x),)


class Long(Prefix):
    def forward(self, x):  # type: ignore[no-untyped-def]
        return (self.late(self.conv(x)),)


class Images:
    """Images that count how often they were read."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.images = torch.randn(COUNT, 3, 5, 5)
        self.read: list[int] = []

    def __call__(self, indices: Tensor) -> Tensor:
        self.read += indices.tolist()
        return self.images[indices]


def part(module: nn.Module, crossing: str, images: Images, key: str = "images") -> FrozenPart:
    graph: GraphModule = symbolic_trace(module.eval())
    return FrozenPart(graph, (crossing,), images, key, COUNT, torch.device("cpu"))


def test_every_image_is_computed_once() -> None:
    images = Images()
    store = FeaturePool(2**20).store(part(Short(), "conv", images))
    first = store.values(torch.tensor([3, 1, 4, 1, 5]))
    read = len(images.read)
    again = store.values(torch.tensor([5, 3]))
    assert len(images.read) == read
    assert store.filled_count == 4
    assert torch.equal(again[0][0], first[0][4])


@pytest.mark.usefixtures("two_threads")
def test_values_do_not_depend_on_the_rest_of_the_batch() -> None:
    images = Images()
    alone = FeaturePool(2**20).store(part(Short(), "conv", images))
    together = FeaturePool(2**20).store(part(Short(), "conv", images))
    one = torch.cat([alone.values(torch.tensor([i]))[0] for i in range(COUNT)])
    assert torch.equal(one, together.values(torch.arange(COUNT))[0])
    plain = Short().eval()(images.images)[0]
    torch.testing.assert_close(one, plain)


def test_without_room_everything_is_computed_and_nothing_kept() -> None:
    images = Images()
    pool = FeaturePool(16)
    store = pool.store(part(Short(), "conv", images))
    indices = torch.arange(CHUNK + 5)
    first, second = store.values(indices), store.values(indices)
    assert torch.equal(first[0], second[0])
    assert store.filled_count == 0


def test_the_same_part_shares_a_store_and_another_does_not() -> None:
    pool, images = FeaturePool(2**20), Images()
    store = pool.store(part(Short(), "conv", images))
    assert pool.store(part(Short(), "conv", images)) is store
    assert pool.store(part(Short(), "conv", images, key="other images")) is not store
    changed = Short()
    with torch.no_grad():
        changed.conv.weight.add_(1)
    assert pool.store(part(changed, "conv", images)) is not store


def test_a_longer_prefix_continues_from_kept_values() -> None:
    pool, images = FeaturePool(2**20), Images()
    pool.store(part(Short(), "conv", images)).values(torch.arange(COUNT))
    read = len(images.read)
    continued = pool.store(part(Long(), "late", images)).values(torch.arange(COUNT))
    assert len(images.read) == read
    fresh = FeaturePool(2**20).store(part(Long(), "late", images)).values(torch.arange(COUNT))
    assert torch.equal(continued[0], fresh[0])


def test_layers_of_other_strides_are_another_prefix() -> None:
    pool, images = FeaturePool(2**20), Images()
    first, second = Short(), Short()
    second.conv.stride = (2, 2)
    store = pool.store(part(first, "conv", images))
    assert pool.store(part(second, "conv", images)) is not store
