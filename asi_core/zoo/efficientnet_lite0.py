"""EfficientNet-Lite0 (Tan & Le, ICML 2019; the Lite variant of Liu, 2020).

Lite drops squeeze-and-excitation, uses ReLU6, and does not scale the widths of stem and head. The
padding is TensorFlow's "same": at stride 2 and even input sizes one extra pixel at the bottom and
right. It is fixed for even sizes, so image sides must be multiples of 32 to match the original.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

_STEM, _HEAD = 32, 1280
_BN_EPS, _BN_MOMENTUM = 1e-3, 0.01


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


# EfficientNet-B0's stages (table 1 of the paper).
_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class EfficientNetLite0(nn.Module):
    """Images B x 3 x H x W, normalised to (255 x - 127) / 128, to logits B x classes."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.stem_pad = _same_pad(3, 2)
        self.conv_stem = nn.Conv2d(3, _STEM, 3, stride=2, bias=False)
        self.bn0 = _batch_norm(_STEM)
        self.relu0 = nn.ReLU6()
        blocks, channels = [], _STEM
        for stage in _STAGES:
            for index in range(stage.repeats):
                blocks.append(_Block(channels, stage, stage.stride if index == 0 else 1))
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = nn.Conv2d(channels, _HEAD, 1, bias=False)
        self.bn1 = _batch_norm(_HEAD)
        self.relu1 = nn.ReLU6()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(_HEAD, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu0(self.bn0(self.conv_stem(self.stem_pad(x))))
        x = self.relu1(self.bn1(self.conv_head(self.blocks(x))))
        logits: Tensor = self.fc(self.dropout(self.flatten(self.pool(x))))
        return logits

    @staticmethod
    def adapt_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the published checkpoint's keys (`_blocks.0._bn1.weight`) to ours
        (`blocks.0.bn1...`)."""
        return {re.sub(r"(^|\.)_", r"\1", key): value for key, value in state.items()}


class _Block(nn.Module):
    """Inverted residual: expand, depthwise, project."""

    def __init__(self, channels: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        expanded = channels * stage.expansion
        if stage.expansion > 1:
            self.expand_conv = nn.Conv2d(channels, expanded, 1, bias=False)
            self.bn0 = _batch_norm(expanded)
            self.relu0 = nn.ReLU6()
        # Equal padding on both sides is part of the convolution; unequal needs a separate layer.
        unequal = stride > 1
        self.depthwise_pad = _same_pad(stage.kernel, stride) if unequal else nn.Identity()
        self.depthwise_conv = nn.Conv2d(
            expanded,
            expanded,
            stage.kernel,
            stride=stride,
            padding=0 if unequal else stage.kernel // 2,
            groups=expanded,
            bias=False,
        )
        self.bn1 = _batch_norm(expanded)
        self.relu1 = nn.ReLU6()
        self.project_conv = nn.Conv2d(expanded, stage.channels, 1, bias=False)
        self.bn2 = _batch_norm(stage.channels)
        self.expands = stage.expansion > 1
        self.is_residual = stride == 1 and channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu0(self.bn0(self.expand_conv(x))) if self.expands else x
        y = self.relu1(self.bn1(self.depthwise_conv(self.depthwise_pad(y))))
        y = self.bn2(self.project_conv(y))
        return y + x if self.is_residual else y


def _same_pad(kernel: int, stride: int) -> nn.ZeroPad2d:
    """TensorFlow's "same" padding of an even input: the odd pixel is at the right and bottom."""
    total = kernel - stride
    before, after = total // 2, total - total // 2
    return nn.ZeroPad2d((before, after, before, after))


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_BN_EPS, momentum=_BN_MOMENTUM)
