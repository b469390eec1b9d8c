"""Fine-tune your own network on your own data loader, and see the runs on the pages of the app."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from asi_core import Compression, fine_tune, keep_run
from asi_core.training.events import Event, StepEvent

# Ranks of batch, channel, height and width.
METHODS = ("vanilla", {"kind": "asi", "ranks": (4, 8, 4, 4)})


def images(count: int, seed: int) -> TensorDataset:
    """Your data comes here: these images are noise with one brighter channel."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    noise = torch.randn(count, 3, 16, 16, generator=generator)
    return TensorDataset(noise + 2 * F.one_hot(labels, 3)[:, :, None, None], labels)


def network() -> nn.Module:
    """Your network comes here; each run starts from the same weights."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(32, 3),
    )


def show(event: Event) -> None:
    if isinstance(event, StepEvent) and event.step % 5 == 0:
        print(f"step {event.step}: loss {event.loss:.3f}, {event.saved_bytes} bytes saved")


def main() -> None:
    loader = DataLoader(images(96, seed=1), batch_size=16, shuffle=True)
    test = DataLoader(images(48, seed=2), batch_size=48)
    for method in METHODS:
        config = Compression(method, layers=2, also_trained=["10"])
        training = fine_tune(network(), loader, config, test=test, steps=20, momentum=0.9)
        run = keep_run(training, network="small net", data="noise", comparison="example", each=show)
        print(f"run {run.id}: {run.status}, accuracy {run.summary['test_accuracy']:.2f}")
    print(training.report)
    print("python -m asi_core app opens them: Compare has the task 'small net (own)'.")


if __name__ == "__main__":
    main()
