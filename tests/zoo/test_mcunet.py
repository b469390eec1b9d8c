"""MCUNet-in1 compared with the official class, and with real weights if available."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mcunet.tinynas.nn.networks.proxyless_nets import ProxylessNASNets
from torch import nn

from asi_core.zoo.build import build_model
from asi_core.zoo.checkpoints import read_checkpoint
from asi_core.zoo.mcunet import _BLOCKS, MCUNetIn1

REAL = Path(__file__).parents[3] / "shared" / "weights" / "mcunet_in1_imagenet.safetensors"


def conv(name: str, inputs: int, outputs: int, **settings: Any) -> dict[str, Any]:
    return {"name": name, "in_channels": inputs, "out_channels": outputs, **settings}


def official_model() -> nn.Module:
    """The official class, built from the same configuration as ours."""
    blocks, channels = [], 16
    for facts in _BLOCKS:
        inverted = conv(
            "MBInvertedConvLayer",
            channels,
            facts.channels,
            kernel_size=facts.kernel,
            stride=facts.stride,
            expand_ratio=1 if facts.expanded == channels else 2,
            mid_channels=facts.expanded,
            act_func="relu6",
            use_se=False,
        )
        shortcut = conv("IdentityLayer", channels, channels) if facts.is_residual else None
        blocks.append({"mobile_inverted_conv": inverted, "shortcut": shortcut})
        channels = facts.channels
    first = conv("ConvLayer", 3, 16, kernel_size=3, stride=2, act_func="relu6")
    classifier = {"name": "LinearLayer", "in_features": channels, "out_features": 1000}
    model: nn.Module = ProxylessNASNets.build_from_config(
        {
            "first_conv": first,
            "blocks": blocks,
            "feature_mix_layer": None,
            "classifier": {**classifier, "bias": True},
            "bn": {"momentum": 0.1, "eps": 1e-3},
        }
    )
    return model.eval()


def disturbed(model: nn.Module) -> nn.Module:
    """Change statistics and scales from their initial values, so that each one matters."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_mean", "bn.bias")):
            tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
        elif name.endswith(("running_var", "bn.weight")):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return model


@pytest.mark.parametrize("size", [96, 64])
def test_it_computes_what_the_official_class_computes(size: int) -> None:
    official = disturbed(official_model())
    own = MCUNetIn1().eval()
    own.load_state_dict(official.state_dict())
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(own(images), official(images))


@pytest.mark.skipif(not REAL.is_file(), reason="needs the shared weights")
def test_published_weights_find_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(REAL.parent))
    state = read_checkpoint(REAL)
    loaded = build_model("mcunet_in1", 10, seed=0).state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in state.items() if "classifier" not in k)
    official = official_model()
    missing = official.load_state_dict(state, strict=False).missing_keys
    assert all(name.endswith("num_batches_tracked") for name in missing)
