"""Whether layers, spectra and pictures of a run can be those of its model and method."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np

from asi_core.methods.tucker_settings import TuckerMethod
from asi_core.runs.validity import (
    LARGEST_SINGLE,
    MOST_COUNT,
    ROUNDING,
    SECONDS,
    InvalidRun,
    Range,
    check_number,
)
from asi_core.training.events import LayerProbe, PreparedEvent, ProbeEvent
from asi_core.training.pictures import LONGEST_SIDE, LayerPictures, PackedValues
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import model_card
from asi_core.zoo.shapes import LayerFacts, layer_facts

_SHARE = Range(-ROUNDING, 1 + ROUNDING)
_COSINE = Range(-1 - ROUNDING, 1 + ROUNDING)
_DEGREES = Range(-ROUNDING, 90 + ROUNDING)
# Of inputs in single precision; squares and sums of them stay far from infinity.
_SINGULAR_VALUE = Range(0, 1e50)
_PACKED = Range(-LARGEST_SINGLE, LARGEST_SINGLE)
_LONGEST_NAME = 200


def check_prepared(spec: RunSpec, event: PreparedEvent) -> None:
    """What was about to be trained.

    Raises:
        InvalidRun: naming what the model does not have.
    """
    if event.step != 0:
        raise InvalidRun("what was prepared is not at step 0")
    _check_names(spec, [layer.name for layer in event.layers])
    for layer in event.layers:
        facts = _facts(spec)[layer.name]
        _check_shape(spec, layer.name, layer.input_shape)
        if tuple(layer.weight_shape) != facts.weight_shape or layer.geometry != facts.geometry:
            raise InvalidRun(f"{layer.name} has another weight or geometry in the model")
        if len(layer.output_shape) != len(layer.input_shape):
            raise InvalidRun(f"output of {layer.name} has another number of modes")
        _check_sizes(f"output of {layer.name}", layer.output_shape)
    for name in ("trained_parameters", "frozen_values", "threads"):
        check_number(name, getattr(event, name), Range(0, MOST_COUNT, True))
    if max(len(event.device), len(event.layout or "")) > _LONGEST_NAME:
        raise InvalidRun(f"device or layout has more than {_LONGEST_NAME} characters")


def check_probes(spec: RunSpec, events: Sequence[ProbeEvent]) -> None:
    """Probes of one run, in their order.

    Raises:
        InvalidRun: naming the step and layer, and what the model or method does not have.
    """
    names = [layer.name for layer in events[0].layers] if events else []
    before = 0
    for event in events:
        if not before < event.step <= spec.steps:
            raise InvalidRun(f"a probe is at step {event.step!s:.30}, out of order or range")
        if [layer.name for layer in event.layers] != names or not names:
            raise InvalidRun("probes of one run have different layers, or none")
        _check_names(spec, names)
        if event.seconds is not None:
            check_number("seconds of a probe", event.seconds, SECONDS)
        for layer in event.layers:
            try:
                _check_layer(spec, layer)
            except InvalidRun as error:
                raise InvalidRun(f"probe of {layer.name} at step {event.step}: {error}") from None
        before = event.step


def _check_names(spec: RunSpec, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise InvalidRun("a layer is named twice")
    for name in names:
        if name not in _facts(spec):
            raise InvalidRun(f"{name!r:.80} is none of the trained layers of {spec.model}")


def _facts(spec: RunSpec) -> dict[str, LayerFacts]:
    """Of the trained layers, by name."""
    card = model_card(spec.model)
    return _last_facts(card.name, card.checked_layers(spec.layers))


@lru_cache(maxsize=256)
def _last_facts(model: str, count: int) -> dict[str, LayerFacts]:
    facts = layer_facts(model)
    return {layer.name: layer for layer in facts[len(facts) - count :]}


def _check_layer(spec: RunSpec, probe: LayerProbe) -> None:
    shape = probe.shape
    _check_shape(spec, probe.name, shape)
    _check_ranks(spec, probe)
    if len(probe.singular_values) != len(shape):
        raise InvalidRun(f"{len(probe.singular_values)} spectra for {len(shape)} modes")
    for size, values in zip(shape, probe.singular_values, strict=True):
        _check_spectrum(values, min(size, prod(shape) // size))
    shares = {"captured energy": probe.captured_energy, "best energy": probe.best_energy}
    for name, share in shares.items():
        if share is not None:
            check_number(name, share, _SHARE)
    if probe.gradient_cosine is not None:
        check_number("gradient cosine", probe.gradient_cosine, _COSINE)
    if probe.drift_degrees is not None:
        if len(probe.drift_degrees) != len(shape):
            raise InvalidRun(f"{len(probe.drift_degrees)} angles for {len(shape)} modes")
        for degrees in probe.drift_degrees:
            if degrees is not None:
                check_number("drift", degrees, _DEGREES)
    if probe.pictures is not None:
        _check_pictures(probe.pictures, _channels(spec, probe.name))


def _check_shape(spec: RunSpec, name: str, shape: Sequence[int]) -> None:
    """Modes, batch, channels, and where the table has them height and width (or tokens)."""
    card, facts = model_card(spec.model), _facts(spec)[name]
    if len(shape) != card.modes:
        raise InvalidRun(
            f"input of {name} has {len(shape)} modes where {spec.model} has {card.modes}"
        )
    _check_sizes(f"input of {name}", shape)
    if shape[0] > spec.batch_size:
        raise InvalidRun(f"input of {name} has a batch of more than {spec.batch_size}")
    # Not traced where it lacks: that takes seconds, and here for whatever somebody sends.
    known = facts.sizes.get(spec.image_size)
    if known is not None and tuple(shape[1:]) != known[0]:
        raise InvalidRun(f"input of {name} has another shape in the model")
    channel_mode = facts.geometry.channel_mode(card.modes)
    if shape[channel_mode] != _channels(spec, name):
        raise InvalidRun(f"input of {name} has another number of channels in the model")
    positions = [size for mode, size in enumerate(shape) if mode not in (0, channel_mode)]
    if max(positions) > spec.image_size:
        raise InvalidRun(f"input of {name} is larger than the images")


def _check_sizes(what: str, shape: Sequence[int]) -> None:
    for size in shape:
        check_number(f"a size of the {what}", size, Range(1, MOST_COUNT, True))
    if prod(shape) > MOST_COUNT:
        raise InvalidRun(f"the {what} has more than {MOST_COUNT} elements")


def _channels(spec: RunSpec, name: str) -> int:
    facts = _facts(spec)[name]
    return facts.weight_shape[1] * facts.geometry.groups


def _check_ranks(spec: RunSpec, probe: LayerProbe) -> None:
    if probe.ranks is None:
        return
    if not isinstance(spec.method, TuckerMethod):
        raise InvalidRun(f"ranks where {spec.method.label} has none")
    if len(probe.ranks) != len(probe.shape):
        raise InvalidRun(f"{len(probe.ranks)} ranks for {len(probe.shape)} modes")
    for rank, size in zip(probe.ranks, probe.shape, strict=True):
        check_number("a rank", rank, Range(1, size, True))


def _check_spectrum(values: Sequence[float], most: int) -> None:
    if not 1 <= len(values) <= most:
        raise InvalidRun(f"{len(values)} singular values where there are 1 to {most}")
    found = np.array(values, dtype=float)
    # Of an array with NaN, both are NaN.
    for extreme in (found.min(), found.max()):
        check_number("a singular value", extreme.item(), _SINGULAR_VALUE)
    if (np.diff(found) > 0).any():
        raise InvalidRun("singular values do not descend")


def _check_pictures(pictures: LayerPictures, channels: int) -> None:
    shown = pictures.channels
    if not 1 <= len(shown) <= LONGEST_SIDE or len(set(shown)) != len(shown):
        raise InvalidRun(f"pictures of {len(shown)} channels, or of one twice")
    for channel in shown:
        check_number("a channel of the pictures", channel, Range(0, channels - 1, True))
    for side in pictures.size:
        check_number("a side of the pictures", side, Range(1, LONGEST_SIDE, True))
    before = _check_packed(pictures.before)
    area = prod(pictures.size)
    is_one_of_tokens = before == area and pictures.size[1] == len(shown)
    if before != area * len(shown) and not is_one_of_tokens:
        raise InvalidRun("pictures have more or fewer values than their size says")
    if pictures.after is not None and _check_packed(pictures.after) != before:
        raise InvalidRun("pictures before and after differ in size")


def _check_packed(packed: PackedValues) -> int:
    """How many values there are."""
    for value in (packed.low, packed.high):
        check_number("a value of the pictures", value, _PACKED)
    if packed.low > packed.high:
        raise InvalidRun("the lowest value of the pictures is above the highest")
    try:
        return len(base64.b64decode(packed.data, validate=True))
    except (binascii.Error, ValueError):
        raise InvalidRun("pictures are no base64") from None
