"""What works with public networks: torchvision's and timm's, random weights, small images.

    python -m benchmarks.networks [--write] [--only NAME ...]

For each network the last four layers and the classifier are trained. In double precision and at
full rank the first loss and all gradients are compared with plain fine-tuning, and the keys of the
state dict; in single precision and at rank 4 the bytes that one step keeps are counted, plain and
prepared. Prints a line per network; `--write` writes docs/networks.md.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core import Compression, prepare_
from asi_core.errors import AsiError, one_sentence
from asi_core.units import MIB
from asi_core.zoo.build import build_model
from asi_core.zoo.cards import ModelCard, model_card
from asi_core.zoo.outside import trust

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "networks.md"
TOLERANCE = 1e-6
_LAYERS, _CLASSES, _BATCH, _SIZE = 4, 10, 4, 96
_FULL, _RANK = 10**6, 4
# Larger ones say nothing more about what works, and take minutes each.
_TORCHVISION_LEFT_OUT = (
    *("convnext_base", "convnext_large", "efficientnet_b5", "efficientnet_b6", "efficientnet_b7"),
    *("efficientnet_v2_l", "efficientnet_v2_m", "regnet_x_16gf", "regnet_x_32gf"),
    *("regnet_y_128gf", "regnet_y_16gf", "regnet_y_32gf", "resnext101_64x4d", "swin_b"),
    *("swin_v2_b", "vgg19_bn", "vit_h_14", "vit_l_16", "vit_l_32", "wide_resnet101_2"),
)
_TIMM = """
    botnet26t_256 caformer_s18 cait_xxs24_224 coat_tiny coatnet_nano_rw_224 convformer_s18
    convit_tiny convmixer_768_32 convnext_atto convnextv2_atto crossvit_9_240 cs3darknet_s
    davit_tiny deit3_small_patch16_224 deit_tiny_distilled_patch16_224 dla34 dpn68 eca_nfnet_l0
    edgenext_xx_small efficientformer_l1 efficientnet_b0 efficientvit_b0 eva02_tiny_patch14_224
    fastvit_t8 fbnetc_100 focalnet_tiny_srf gcresnext26ts gernet_s ghostnet_100 gmlp_ti16_224
    hardcorenas_a hgnet_tiny hrnet_w18_small inception_next_tiny lcnet_050 levit_128s
    maxvit_rmlp_nano_rw_256 mixer_s32_224 mixnet_s mnasnet_100 mobilenetv3_small_050
    mobilenetv4_conv_small mobileone_s0 mobilevit_xxs mobilevitv2_050 mvitv2_tiny nest_tiny
    nf_resnet26 pit_ti_224 poolformer_s12 pvt_v2_b0 regnetx_002 regnety_002 repvgg_a0
    res2net50_14w_8s resmlp_12_224 resnest14d resnet18 resnetv2_50 rexnet_100 selecsls42b
    semnasnet_075 seresnet50 skresnet18 swin_tiny_patch4_window7_224 tf_efficientnet_lite0
    tinynet_e vit_tiny_patch16_224 volo_d1_224 vovnet39a xcit_nano_12_p16_224
"""


@dataclass(frozen=True)
class Tried:
    """What one network did.

    Attributes:
        loss: relative difference of the first loss at full rank.
        gradient: the largest relative difference of a gradient at full rank.
        before_bytes, now_bytes: that a step at rank 4 keeps, plain and prepared.
        why: what did not work, in a sentence; empty if all did.
    """

    name: str
    kind: str = ""
    loss: float = 0.0
    gradient: float = 0.0
    same_keys: bool = True
    before_bytes: int = 0
    now_bytes: int = 0
    why: str = ""

    @property
    def works(self) -> bool:
        return not self.why


def names() -> list[str]:
    """All networks that are tried."""
    from torchvision import models

    own = [n for n in models.list_models(module=models) if n not in _TORCHVISION_LEFT_OUT]
    return [*(f"torchvision/{n}" for n in own), *(f"timm/{n}" for n in _TIMM.split())]


def tried(name: str) -> Tried:
    """Try one network."""
    trust(name)
    try:
        card = model_card(name)
        return _compared(name, card)
    except AsiError as error:
        return Tried(name, why=one_sentence(error))
    except Exception as error:
        return Tried(name, why=f"{type(error).__name__}: {one_sentence(error)[:160]}")


def _compared(name: str, card: ModelCard) -> Tried:
    size = card.native_size if card.fixed_size else _SIZE
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(_BATCH, 3, size, size, generator=generator, dtype=torch.float64)
    labels = torch.arange(_BATCH) % _CLASSES
    losses, gradients, keys = [], [], []
    for compressed in (False, True):
        model = build_model(name, _CLASSES, seed=0, pretrained=False).double()
        config = _config(card, _FULL if compressed else None)
        prepare_(model, config)
        loss = _loss(model, images, labels)
        loss.backward()
        losses.append(float(loss))
        keys.append(list(model.state_dict()))
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    report = prepare_(
        build_model(name, _CLASSES, seed=0, pretrained=False),
        _config(card, _RANK),
        example=images.float(),
    )
    found = Tried(
        name,
        card.layer_kind,
        abs(losses[1] - losses[0]) / abs(losses[0]),
        _difference(*gradients),
        keys[0] == keys[1],
        report.before_bytes or 0,
        report.now_bytes or 0,
    )
    return _judged(found)


def _judged(found: Tried) -> Tried:
    problems = []
    if found.loss > TOLERANCE:
        problems.append(f"the first loss differs by {found.loss:.1e}")
    if found.gradient > TOLERANCE:
        problems.append(f"a gradient differs by {found.gradient:.1e}")
    if not found.same_keys:
        problems.append("the state dict has other keys")
    values = {**found.__dict__, "why": "; ".join(problems)}
    return Tried(**values)


def _config(card: ModelCard, rank: int | None) -> Compression:
    layers = list(card.layer_names[-_LAYERS:])
    own: dict[str, Any] = {"layers": layers, "also_trained": list(card.heads)}
    if rank is None:
        return Compression("vanilla", lean=False, **own)
    return Compression("asi", ranks=rank, **own)


def _loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    # Networks that draw numbers in a forward pass draw the same ones each time.
    torch.manual_seed(0)
    return F.cross_entropy(model(images), labels)


def _difference(expected: dict[str, Tensor], found: dict[str, Tensor]) -> float:
    if expected.keys() != found.keys():
        return float("inf")
    scale = max(float(value.abs().max()) for value in expected.values())
    return max(float((expected[n] - found[n]).abs().max()) for n in expected) / scale


def all_tried(wanted: Sequence[str]) -> Iterator[Tried]:
    """Try them one after the other, and say how each went."""
    for name in wanted:
        began = time.monotonic()
        found = tried(name)
        outcome = "works" if found.works else found.why
        print(f"{name}: {outcome} ({time.monotonic() - began:.0f} s)", flush=True)
        yield found
        gc.collect()


def document(found: Sequence[Tried]) -> str:
    """docs/networks.md."""
    working = [one for one in found if one.works]
    rows = "\n".join(_row(one) for one in found)
    return f"""# Public networks

{len(working)} of {len(found)} networks of torchvision and timm work: their last {_LAYERS} layers
and a new classifier are trained with `prepare_`, from random weights, at batch {_BATCH} and
{_SIZE} pixels (or the only size that a network reads). "Loss" and "gradient" are the largest
relative differences from plain fine-tuning in double precision at full rank; up to {TOLERANCE:g}
counts as equal. The state dict has the plain network's keys in all that work. "Before" and "now"
are MiB that one step keeps for backward, loss excluded, with plain layers and with ASI at rank
{_RANK}: measured. At such a small size much of what is left is kept by other layers, which the
report of `prepare_` names.

Written by `python -m benchmarks.networks --write`.

| network | layers | loss | gradient | before | now | times less | |
|---|---|--:|--:|--:|--:|--:|---|
{rows}
"""


def _row(one: Tried) -> str:
    if not one.now_bytes:
        return f"| {one.name} | {one.kind} | | | | | | {one.why} |"
    before, now = one.before_bytes / MIB, one.now_bytes / MIB
    return (
        f"| {one.name} | {one.kind} | {one.loss:.0e} | {one.gradient:.0e} | {before:.3f} | "
        f"{now:.3f} | {before / now:.1f} | {one.why} |"
    )


def main() -> int:
    """Try all, and write the document if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/networks.md")
    parser.add_argument("--only", nargs="+", help="names of networks")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found = list(all_tried(options.only or names()))
    print(f"{sum(one.works for one in found)} of {len(found)} work")
    if options.write:
        DOCUMENT.write_text(document(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
