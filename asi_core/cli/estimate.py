"""`estimate`: memory and MACs by formula."""

from __future__ import annotations

import argparse
import json
from typing import Any

from asi_core.cli.flags import STEP_FIELDS, add_json_flag, add_method_flags, add_run_flags
from asi_core.cli.options import Commands, add_convention, method_settings
from asi_core.cli.terminal import name_width
from asi_core.costs.accounting import LayerCost, StepCost
from asi_core.costs.estimate import estimate
from asi_core.methods import METHOD_ADAPTER, Method
from asi_core.training.spec import RUN_DEFAULTS
from asi_core.units import format_bytes, format_count, last_layers
from asi_core.zoo.cards import model_card


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("estimate", help="memory and MACs by formula")
    # Weights change no number here: the flag is accepted, so that one line serves all commands.
    add_run_flags(parser, (*STEP_FIELDS, "pretrained"))
    # Not the usual size: a language model has none.
    parser.set_defaults(image_size=None)
    parser.add_argument(
        "--tokens", type=int, metavar="T", help="for a language model: tokens of each text"
    )
    add_method_flags(parser)
    add_json_flag(parser)
    add_convention(parser, default="exact")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the cost of a step, layer by layer."""
    method: Method = METHOD_ADAPTER.validate_python(method_settings(options))
    cost = estimate(
        options.model,
        method,
        layers=options.layers,
        batch_size=options.batch_size,
        image_size=_image_size(options),
        tokens=options.tokens,
        convention=options.convention,
    )
    if options.json:
        print(json.dumps(_as_dict(options.model, method, cost)))
        return 0
    print(_what(options, method))
    width = name_width(layer.shape.name for layer in cost.layers)
    for layer in cost.layers:
        _print_cost(layer.shape.name.ljust(width), layer)
    _print_cost(f"total ({cost.convention})".ljust(width), cost)
    if cost.repeated_bytes:
        print(
            f"{format_bytes(cost.repeated_bytes)} of it are inputs shared by several layers: the "
            "paper counts them for each layer, PyTorch keeps them once (--convention exact)."
        )
    return 0


def _what(options: argparse.Namespace, method: Method) -> str:
    """What is estimated, to distinguish the outputs of several commands."""
    place = f"{last_layers(options.layers)} of {model_card(options.model).title}"
    parts = [f"{method.settings_label} on {place}", f"batches of {options.batch_size}"]
    if (size := _image_size(options)) is not None:
        parts.append(f"{size} px")
    elif options.tokens is not None:
        parts.append(f"{options.tokens} tokens")
    return ", ".join(parts)


def _image_size(options: argparse.Namespace) -> int | None:
    """The size that is given, or the usual one for a network that reads images."""
    if options.image_size is None and model_card(options.model).reads == "images":
        usual: int = RUN_DEFAULTS["image_size"]
        return usual
    given: int | None = options.image_size
    return given


def _as_dict(model: str, method: Method, cost: StepCost) -> dict[str, Any]:
    return {
        "model": model,
        "method": method.model_dump(mode="json"),
        "convention": cost.convention,
        "activation_bytes": cost.activation_bytes,
        "repeated_bytes": cost.repeated_bytes,
        "macs": cost.macs.as_dict(),
        "layers": [_layer_as_dict(layer) for layer in cost.layers],
    }


def _layer_as_dict(layer: LayerCost) -> dict[str, Any]:
    return {
        "name": layer.shape.name,
        "input_shape": layer.shape.input_shape,
        "output_shape": layer.shape.output_shape,
        "ranks": layer.ranks,
        "activation_bytes": layer.activation_bytes,
        "macs": layer.macs.as_dict(),
    }


def _print_cost(name: str, cost: LayerCost | StepCost) -> None:
    size, macs = format_bytes(cost.activation_bytes), format_count(cost.macs.total, "MACs")
    print(f"{name} {size:>12} {macs:>14}")
