from __future__ import annotations

from itertools import islice

import numpy as np
import torch

from asi_core.datasets import ArraySplit
from asi_core.training.batches import ImageLoader, batch_indices
from asi_core.zoo.cards import MODELS

CARD = MODELS["efficientnet_lite0"]


def test_every_epoch_meets_every_image_once_and_ends_with_the_rest() -> None:
    batches = list(islice(batch_indices(10, 4, seed=0), 6))
    assert [len(batch) for batch in batches] == [4, 4, 2, 4, 4, 2]
    for epoch in (batches[:3], batches[3:]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(10))
    assert batches[0].tolist() != batches[3].tolist()


def test_the_order_is_the_seeds() -> None:
    def order(seed: int) -> list[int]:
        return next(batch_indices(1000, 1000, seed)).tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(2**53 - 1) != order(2**53 - 2), "the largest seed that a run may have"


def test_grey_and_coloured_images_come_normalised() -> None:
    grey = ArraySplit(np.full((2, 28, 28), 255, np.uint8), np.zeros(2, np.int64))
    loaded = ImageLoader(grey, CARD, 64, torch.device("cpu"))(torch.tensor([0, 1]))
    assert loaded.shape == (2, 3, 64, 64)
    torch.testing.assert_close(loaded, torch.ones_like(loaded))  # (255 - 127) / 128
    coloured = np.zeros((1, 4, 4, 3), np.uint8)
    coloured[..., 2] = 255
    split = ArraySplit(coloured, np.zeros(1, np.int64))
    loaded = ImageLoader(split, CARD, 32, torch.device("cpu"))(torch.tensor([0]))
    expected = torch.tensor([-127 / 128, -127 / 128, 1.0])
    torch.testing.assert_close(loaded[0, :, 0, 0], expected)
