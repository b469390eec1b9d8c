"""Data parallel training on two processes of one machine, with the gloo backend."""

from __future__ import annotations

import os
import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
import torchvision
from torch.nn.parallel import DistributedDataParallel

from asi_core import Compression, prepare_

PROCESSES = 2


def train(rank: int, port: int) -> None:
    """One process: the same network, and its own part of each batch."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    torch.manual_seed(0)
    model = torchvision.models.shufflenet_v2_x0_5(num_classes=4)
    config = Compression("asi", ranks=(4, 8, 2, 2), layers=4, also_trained=["fc"])
    report = prepare_(model, config, example=torch.randn(8, 3, 64, 64))
    if rank == 0:
        print(report)
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    generator = torch.Generator().manual_seed(rank)
    for step in range(3):
        images = torch.randn(8, 3, 64, 64, generator=generator)
        labels = torch.randint(4, (8,), generator=generator)
        loss = F.cross_entropy(parallel(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if rank == 0:
            print(f"step {step + 1}: loss {loss.item():.3f}")
    # All processes have the same weights, though each keeps its own warm starts.
    sums = [torch.zeros(()) for _ in range(PROCESSES)]
    dist.all_gather(sums, sum(p.detach().double().sum() for p in model.parameters()).float())
    assert sums[0] == sums[1], "the processes' weights have come apart"
    dist.destroy_process_group()


def main() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(train, args=(port,), nprocs=PROCESSES)


if __name__ == "__main__":
    main()
