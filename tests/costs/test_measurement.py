from __future__ import annotations

import gc

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from asi_core.costs.measurement import SavedBytes


def test_storages_are_counted_once_and_parameters_not_at_all() -> None:
    model = nn.Sequential(nn.Linear(10, 10, bias=False), nn.ReLU(), nn.Linear(10, 10, bias=False))
    x = torch.randn(4, 10)
    with SavedBytes(model) as meter:
        model(x)
    # The input, and ReLU's result, which is also the second layer's input.
    assert meter.total == 2 * x.nbytes


def test_a_view_counts_with_the_storage_that_it_keeps_alive() -> None:
    whole = torch.randn(100, 10)
    layer = nn.Linear(10, 10, bias=False)
    with SavedBytes(layer) as meter:
        layer(whole[:2])
    assert meter.total == whole.nbytes


def test_nothing_is_counted_after_it_is_closed() -> None:
    layer = nn.Linear(10, 10, bias=False)
    with SavedBytes(layer) as meter:
        pass
    layer(torch.randn(4, 10))
    assert meter.total == 0


def test_a_step_without_backward_leaves_nothing_behind() -> None:
    """A sigmoid's node saves its own result, which would otherwise keep itself alive forever."""
    layer = nn.Sequential(nn.Linear(10, 10), nn.Sigmoid())
    with SavedBytes(layer):
        output = layer(torch.randn(4, 10))
    storage = StorageWeakRef(output.untyped_storage())
    del output
    gc.collect()
    assert storage.expired()
