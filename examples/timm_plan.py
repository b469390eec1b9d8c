"""Plan the ranks of a timm network for a memory budget, and train it."""

from __future__ import annotations

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core import Compression, plan, prepare_, profile

BUDGET = 60_000


def batch(seed: int) -> tuple[Tensor, Tensor]:
    """Images and labels; your data loader comes here."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (16,), generator=generator)
    return torch.randn(16, 3, 64, 64, generator=generator) + labels[:, None, None, None], labels


def loss(model: nn.Module, data: tuple[Tensor, Tensor]) -> Tensor:
    images, labels = data
    return F.cross_entropy(model(images), labels)


def main() -> None:
    torch.manual_seed(0)
    # pretrained=True loads published weights.
    model = timm.create_model("mobilenetv3_small_050", num_classes=4)
    model.eval()
    made = plan(profile(model, [batch(1), batch(2)], loss, layers=4), budget_bytes=BUDGET)
    print(f"planned {made.total_bytes} of {BUDGET} bytes: {made.ranks}")
    config = Compression.from_plan(made, also_trained=["classifier"])
    print(prepare_(model, config, example=batch(1)[0]))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for step in range(5):
        value = loss(model, batch(step))
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step + 1}: loss {value.item():.3f}")


if __name__ == "__main__":
    main()
