"""Fine-tune a torchvision network in a plain loop, and go on from a checkpoint."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from asi_core import Compression, load_warm_starts_, prepare_, warm_starts

CONFIG = Compression("asi", ranks=(4, 8, 2, 2), layers=4, also_trained=["classifier.3"])


def batch(step: int) -> tuple[Tensor, Tensor]:
    """Images and labels; your data loader comes here."""
    generator = torch.Generator().manual_seed(step)
    labels = torch.randint(4, (16,), generator=generator)
    images = torch.randn(16, 3, 64, 64, generator=generator) + labels[:, None, None, None]
    return images, labels


def prepared() -> nn.Module:
    """weights="DEFAULT" starts from ImageNet's."""
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.mobilenet_v3_small(num_classes=4)
    print(prepare_(model, CONFIG, example=batch(0)[0]))
    return model


def main() -> None:
    model = prepared()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.05, momentum=0.9)
    # Normalisations keep their statistics all the same.
    model.train()
    for step in range(8):
        images, labels = batch(step)
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step + 1}: loss {loss.item():.3f}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        torch.save({"model": model.state_dict(), "starts": warm_starts(model)}, path)
        kept = torch.load(path)
    # The keys are the plain network's, so a checkpoint loads into it as well.
    torchvision.models.mobilenet_v3_small(num_classes=4).load_state_dict(kept["model"])
    later = prepared()
    later.load_state_dict(kept["model"])
    load_warm_starts_(later, kept["starts"])


if __name__ == "__main__":
    main()
