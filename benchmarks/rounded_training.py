"""What approximate gradients of activations do to accuracy: a small transformer from scratch.

    python -m benchmarks.rounded_training [--steps N] [--seeds N]

torchvision's VisionTransformer with 4 blocks of width 64 learns the bundled Fashion-MNIST images at
28 pixels, all of it trained, with Adam. The activation bits are the only difference. Prints the
accuracy on the test images, mean and range over seeds.
"""

from __future__ import annotations

import argparse
import sys
from statistics import mean

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer

from asi_core.datasets import Split, load_dataset
from asi_core.layers.lean import lean_
from asi_core.training.batches import batch_indices

_BITS = (None, 8, 4)
_BATCH, _SIZE, _RATE = 64, 28, 1e-3


def images_of(split: Split) -> tuple[Tensor, Tensor]:
    """All images as N x 3 x 28 x 28 around zero, and their labels."""
    count = len(split)
    read = torch.from_numpy(split.read(torch.arange(count).numpy(), _SIZE)).float() / 255 - 0.5
    return read.unsqueeze(1).expand(-1, 3, -1, -1), torch.from_numpy(split.labels)


def accuracy(bits: int | None, seed: int, steps: int) -> float:
    """The share of test images that are recognised after training."""
    data = load_dataset("fashion_mnist_small")
    images, labels = images_of(data.train)
    torch.manual_seed(seed)
    model: nn.Module = VisionTransformer(_SIZE, 4, 4, 4, 64, 128, num_classes=len(data.classes))
    lean_(model, activation_bits=bits)
    optimiser = torch.optim.Adam(model.parameters(), _RATE)
    for step, batch in zip(range(steps), batch_indices(len(labels), _BATCH, seed), strict=False):
        for group in optimiser.param_groups:
            group["lr"] = _RATE * (1 - step / steps)
        optimiser.zero_grad()
        F.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimiser.step()
    model.eval()
    images, labels = images_of(data.test)
    with torch.no_grad():
        found = torch.cat([model(part).argmax(1) for part in images.split(256)])
    return float((found == labels).float().mean())


def main() -> int:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    for bits in _BITS:
        found = [accuracy(bits, seed, options.steps) for seed in range(options.seeds)]
        label = "exact" if bits is None else f"{bits} bits"
        print(
            f"{label}: {100 * mean(found):.1f} % ({100 * min(found):.1f} to "
            f"{100 * max(found):.1f}, {options.seeds} seeds, {options.steps} steps)",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
