"""Converting stored images to network inputs, and the order of batches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from asi_core.datasets import Split
from asi_core.zoo.cards import ModelCard


class ImageLoader:
    """Images of one split as N x 3 x size x size, normalised as the model expects.

    Attributes:
        normalisation: a key for the means and deviations in use.
    """

    def __init__(self, split: Split, card: ModelCard, size: int, device: torch.device) -> None:
        self._split = split
        self._size = size
        self._device = device
        self.normalisation = f"{card.mean}/{card.std}"
        self._mean = torch.tensor(card.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(card.std, device=device).view(1, 3, 1, 1)

    def __call__(self, indices: Tensor) -> Tensor:
        images = torch.from_numpy(self._split.read(indices.numpy(), self._size)).to(self._device)
        grey = images.dim() == 3
        images = images.unsqueeze(1).expand(-1, 3, -1, -1) if grey else images.permute(0, 3, 1, 2)
        return (self._resized(images.float() / 255) - self._mean) / self._std

    def _resized(self, images: Tensor) -> Tensor:
        size = (self._size, self._size)
        if images.shape[-2:] == size:
            return images
        return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def batch_indices(count: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Endless batches of shuffled indices; the last batch of an epoch may be smaller.

    An epoch's order depends only on `seed` and its number, so a run can be resumed at any step.
    """
    epoch = 0
    while True:
        generator = torch.Generator().manual_seed((1_000_003 * seed + epoch) % 2**64)
        yield from torch.randperm(count, generator=generator).split(batch_size)
        epoch += 1
