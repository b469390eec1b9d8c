"""timm's layers, which are recognised without importing timm."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from asi_core.layers.lean import lean_, unlean_
from tests.costs.networks import batch, categories, step
from tests.layers.lean.cases import assert_all_equal, types

layers = pytest.importorskip("timm.layers")


def network(act: type[nn.Module], *, training: bool, trained: bool) -> nn.Module:
    torch.manual_seed(0)
    norm = layers.BatchNormAct2d(4, act_layer=act)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 2)
    norm.train(training).requires_grad_(trained)
    return nn.Sequential(nn.Conv2d(4, 4, 3, bias=False), norm, nn.Conv2d(4, 3, 1))


@pytest.mark.parametrize("act", [nn.ReLU, nn.SiLU, nn.Identity])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("trained", [True, False])
def test_the_numbers_are_timms(act: type[nn.Module], training: bool, trained: bool) -> None:
    model = network(act, training=training, trained=trained)
    twin = copy.deepcopy(model)
    report = lean_(twin)
    assert ("1" in report.replaced) is not (training or trained)
    assert list(twin.state_dict()) == list(model.state_dict())
    twin = pickle.loads(pickle.dumps(copy.deepcopy(twin)))
    assert_all_equal(model, twin, batch(3, 4, 8, 8)())
    for own, native in zip(twin.buffers(), model.buffers(), strict=True):
        assert torch.equal(own, native)
    unlean_(twin)
    assert types(twin) == types(model)


def test_it_keeps_one_bit_per_element() -> None:
    model = network(nn.ReLU, training=False, trained=False)
    lean_(model)
    kept = categories(step(model, batch(3, 4, 8, 8), ["0", "2"]))
    numbers = 3 * 4 * 6 * 6
    assert kept == {
        "trained layer inputs": 4 * (3 * 4 * 8 * 8 + numbers),
        "activation functions": numbers // 8,
    }


def test_timm_is_not_imported_for_that() -> None:
    code = (
        "import sys, torch; from asi_core.layers.lean import lean_; "
        "lean_(torch.nn.Sequential(torch.nn.ReLU()), recompute_attention=True); "
        "assert not {'timm', 'torchvision', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
