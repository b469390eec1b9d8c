"""MCUNet-in1 (Lin et al., NeurIPS 2020; the model published as mcunet-5fps).

Found by architecture search for microcontrollers: inverted residual blocks with varying widths and
kernels. Names follow the official class, so that its checkpoints load unchanged.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

_BN_EPS, _BN_MOMENTUM = 1e-3, 0.1
_STEM, _FEATURES = 16, 160


class _BlockFacts(NamedTuple):
    expanded: int
    channels: int
    kernel: int
    stride: int
    is_residual: bool


# From the configuration published with the weights.
_BLOCKS = (
    _BlockFacts(16, 8, 3, 1, False),
    _BlockFacts(32, 16, 3, 2, False),
    _BlockFacts(48, 16, 3, 1, True),
    _BlockFacts(48, 24, 7, 2, False),
    _BlockFacts(120, 24, 3, 1, True),
    _BlockFacts(120, 40, 3, 2, False),
    _BlockFacts(160, 40, 7, 1, True),
    _BlockFacts(160, 48, 5, 1, False),
    _BlockFacts(144, 48, 3, 1, True),
    _BlockFacts(192, 48, 3, 1, True),
    _BlockFacts(240, 96, 7, 2, False),
    _BlockFacts(384, 96, 5, 1, True),
    _BlockFacts(384, 96, 5, 1, True),
    _BlockFacts(576, 160, 3, 1, False),
)


class MCUNetIn1(nn.Module):
    """Images B x 3 x H x W, scaled to -1..1, to logits B x classes."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.first_conv = _ConvUnit(3, _STEM, 3, stride=2)
        blocks, channels = [], _STEM
        for facts in _BLOCKS:
            blocks.append(_Block(channels, facts))
            channels = facts.channels
        self.blocks = nn.Sequential(*blocks)
        self.classifier = _Classifier(_FEATURES, classes)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.blocks(self.first_conv(x)).mean(3).mean(2)
        logits: Tensor = self.classifier(pooled)
        return logits


class _ConvUnit(nn.Module):
    """Convolution, normalisation and, unless it is the projection, ReLU6."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        activates: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs, eps=_BN_EPS, momentum=_BN_MOMENTUM)
        self.act = nn.ReLU6() if activates else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.act(self.bn(self.conv(x)))
        return activated


class _InvertedBottleneck(nn.Module):
    """Expand (unless the width is unchanged), depthwise, project."""

    def __init__(self, channels: int, facts: _BlockFacts) -> None:
        super().__init__()
        wide = facts.expanded
        if wide != channels:
            self.inverted_bottleneck = _ConvUnit(channels, wide)
        self.depth_conv = _ConvUnit(wide, wide, facts.kernel, stride=facts.stride, groups=wide)
        self.point_linear = _ConvUnit(wide, facts.channels, activates=False)
        self.expands = wide != channels

    def forward(self, x: Tensor) -> Tensor:
        if self.expands:
            x = self.inverted_bottleneck(x)
        projected: Tensor = self.point_linear(self.depth_conv(x))
        return projected


class _Block(nn.Module):
    def __init__(self, channels: int, facts: _BlockFacts) -> None:
        super().__init__()
        self.mobile_inverted_conv = _InvertedBottleneck(channels, facts)
        self.is_residual = facts.is_residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mobile_inverted_conv(x)
        return y + x if self.is_residual else y


class _Classifier(nn.Module):
    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x)
        return logits
