"""`estimate`: memory and MACs by formula, of one method layer by layer, or of several side by side.

With `--json`, one method is one object; several are the list `methods` of such objects, each with
the numbers that are trained (`trained_numbers`), the bytes of their gradients and what training
needs at once (`needed_bytes`, without frozen weights; null where it cannot be trained) besides.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from asi_core.cli.flags import STEP_FIELDS, add_json_flag, add_methods_flags, add_run_flags
from asi_core.cli.options import Commands, add_convention, settings_of_methods
from asi_core.cli.terminal import name_width
from asi_core.costs.accounting import LayerCost, StepCost
from asi_core.costs.estimate import estimate
from asi_core.methods import METHOD_ADAPTER, Method
from asi_core.records import ELEMENT_BYTES
from asi_core.training.spec import RUN_DEFAULTS, RunSpec
from asi_core.units import DASH, format_bytes, format_count, last_layers
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
    add_methods_flags(parser)
    add_json_flag(parser)
    add_convention(parser, default="exact")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the cost of a step."""
    methods = [METHOD_ADAPTER.validate_python(found) for found in settings_of_methods(options)]
    costs = [(method, _estimated(options, method)) for method in methods]
    if len(costs) > 1:
        _print_compared(options, costs)
    elif options.json:
        print(json.dumps(_as_dict(options.model, *costs[0])))
    else:
        _print_layers(options, *costs[0])
    return 0


def _estimated(options: argparse.Namespace, method: Method) -> StepCost:
    return estimate(
        options.model,
        method,
        layers=options.layers,
        batch_size=options.batch_size,
        image_size=_image_size(options),
        tokens=options.tokens,
        convention=options.convention,
    )


def _print_layers(options: argparse.Namespace, method: Method, cost: StepCost) -> None:
    print(f"{method.settings_label} on {_what(options)}")
    width = name_width(layer.shape.name for layer in cost.layers)
    for layer in cost.layers:
        _print_cost(layer.shape.name.ljust(width), layer)
    _print_cost(f"total ({cost.convention})".ljust(width), cost)
    if cost.repeated_bytes:
        print(
            f"{format_bytes(cost.repeated_bytes)} of it are inputs shared by several layers: the "
            "paper counts them for each layer, PyTorch keeps them once (--convention exact)."
        )


def _print_compared(options: argparse.Namespace, costs: Sequence[tuple[Method, StepCost]]) -> None:
    needed = [_needed(options, method) for method, _ in costs]
    if options.json:
        rows = zip(costs, needed, strict=True)
        found = [_compared_as_dict(options.model, *pair, need) for pair, need in rows]
        print(json.dumps({"methods": found}))
        return
    print(f"{_what(options)}, {options.convention}")
    width = name_width(method.settings_label for method, _ in costs)
    print(f"{'method'.ljust(width)} {_cells(_HEAD)}")
    for (method, cost), need in zip(costs, needed, strict=True):
        print(f"{method.settings_label.ljust(width)} {_cells(_row(cost, need))}")
    print(
        "By formula. Needed: by training, at once, with SGD, without weights that are frozen; all "
        "else is of these layers. An optimizer keeps as much as the gradients for momentum, and "
        "twice as much for AdamW."
    )


def _needed(options: argparse.Namespace, method: Method) -> int | None:
    """What training with the method needs at once; None where nothing can be trained, such as a
    language model, or with more images per batch than there are."""
    size = _image_size(options)
    if size is None:
        return None
    # Imported here, as PyTorch's shapes take longer to import than all else takes.
    from asi_core.training.formula_memory import formula_need

    given = {name: getattr(options, name) for name in ("model", "layers", "batch_size")}
    try:
        spec = RunSpec(method=method, image_size=size, pretrained=False, **given)
    except ValidationError:
        return None
    return formula_need(spec).total(frozen_in_flash=True)


# What a row says of a method: bytes kept for backward and needed at once, numbers that are trained
# and the bytes of their gradients, and MACs: of the forward pass, of what the method adds, of
# backward, of all.
_HEAD = ("kept", "needed", "trained", "gradients", "forward", "overhead", "backward", "total")


def _row(cost: StepCost, needed: int | None) -> tuple[str, ...]:
    trained, macs = cost.numbers.trained, cost.macs
    return (
        format_bytes(cost.activation_bytes),
        DASH if needed is None else format_bytes(needed),
        format_count(trained, ""),
        format_bytes(ELEMENT_BYTES * trained),
        *(format_count(n, "MACs") for n in (macs.forward, macs.overhead, macs.backward)),
        format_count(macs.total, "MACs"),
    )


def _cells(texts: Iterable[str]) -> str:
    return " ".join(f"{text.strip():>11}" for text in texts)


def _what(options: argparse.Namespace) -> str:
    """What is estimated, to distinguish the outputs of several commands."""
    place = f"{last_layers(options.layers)} of {model_card(options.model).title}"
    parts = [place, f"batches of {options.batch_size}"]
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


def _compared_as_dict(
    model: str, method: Method, cost: StepCost, needed: int | None
) -> dict[str, Any]:
    trained = cost.numbers.trained
    numbers: dict[str, Any] = {"trained_numbers": trained, "needed_bytes": needed}
    numbers["gradient_bytes"] = ELEMENT_BYTES * trained
    return {**_as_dict(model, method, cost), **numbers}


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
