"""Checks that layers, spectra and pictures of a run are possible for its model and method."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Container, Sequence
from functools import lru_cache
from math import prod

import numpy as np

from asi_core.records import Geometry, LayerShape
from asi_core.runs.validity.rows import (
    COLUMNS,
    LARGEST_SINGLE,
    SECONDS,
    Range,
    check_number,
    check_rows,
)
from asi_core.runs.validity.specs import MOST_COUNT, InvalidRun
from asi_core.training.events import Event, LayerProbe, PreparedEvent, ProbeEvent, TimelineEvent
from asi_core.training.pictures import LONGEST_SIDE, LayerPictures, PackedValues
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import model_card
from asi_core.zoo.outside import edition
from asi_core.zoo.shapes import LayerFacts, chosen_facts

# Factors in 8 bits are orthonormal only within some percent.
_SHARE = Range(0, 1.1)
_COSINE, _DEGREES = Range(-1.001, 1.001), Range(0, 90.001)
# More than inputs in single precision can have; squares and sums stay far from infinity.
_SINGULAR_VALUE = Range(0, 1e50)
_PACKED = Range(-LARGEST_SINGLE, LARGEST_SINGLE)
_LONGEST_NAME = 200
_MOST_MODES = 8
_NAME = re.compile(r"[\w.]{1,200}", re.ASCII)


def check_model(spec: RunSpec, events: Sequence[Event]) -> None:
    """Check that layers and their shapes are those of the model.

    Raises:
        InvalidRun: naming what the model does not have.
    """
    for event in events:
        if isinstance(event, PreparedEvent):
            # Of a layer that is called several times there is one shape for each call.
            _check_names(spec, list(dict.fromkeys(layer.name for layer in event.layers)))
            for layer in event.layers:
                _check_prepared_layer(spec, layer)
        if isinstance(event, ProbeEvent):
            _check_names(spec, [layer.name for layer in event.layers])
            if spec.own_layers is None:
                for probe in event.layers:
                    _check_of_model(spec, probe.name, probe.shape)


def _check_prepared_layer(spec: RunSpec, layer: LayerShape) -> None:
    if spec.own_layers is not None:
        if layer.is_linear != next(n.is_linear for n in spec.own_layers if n.name == layer.name):
            raise InvalidRun(f"{layer.name} is of another kind in the specification")
        if layer.input_shape[layer.channel_mode] != _channels(layer.weight_shape, layer.geometry):
            raise InvalidRun(
                f"input of {layer.name} has another number of channels than its weight"
            )
        return
    _check_of_model(spec, layer.name, layer.input_shape)
    facts = _facts(spec)[layer.name]
    if layer.weight_shape != facts.weight_shape or layer.geometry != facts.geometry:
        raise InvalidRun(f"{layer.name} has another weight or geometry in the model")


def check_events(spec: RunSpec, events: Sequence[Event]) -> None:
    """Check that events of one run can be drawn; each kind is in the order of steps.

    Raises:
        InvalidRun: naming what is impossible for this specification.
    """
    for kind in COLUMNS:
        check_rows(spec, kind, [event.model_dump() for event in events if event.kind == kind])
    for event in events:
        if isinstance(event, PreparedEvent):
            check_prepared(spec, event)
    check_probes(spec, [event for event in events if isinstance(event, ProbeEvent)])
    check_timelines(spec, [event for event in events if isinstance(event, TimelineEvent)])


def check_prepared(spec: RunSpec, event: PreparedEvent) -> None:
    """Check the event about the layers to be trained.

    Raises:
        InvalidRun: naming what is impossible.
    """
    if event.step != 0:
        raise InvalidRun("the prepared event is not at step 0")
    for layer in event.layers:
        name = _plain(layer.name)
        modes = _modes_of(spec, name)
        _check_shape(spec, f"input of {name}", layer.input_shape, modes)
        _check_shape(spec, f"output of {name}", layer.output_shape, modes)
    for name in ("trained_parameters", "frozen_values", "threads"):
        check_number(name, getattr(event, name), Range(0, MOST_COUNT, True))
    if max(len(event.device), len(event.layout or "")) > _LONGEST_NAME:
        raise InvalidRun(f"device or layout has more than {_LONGEST_NAME} characters")


def check_probes(spec: RunSpec, events: Sequence[ProbeEvent]) -> None:
    """Check that the probes of one run, in order, have the model's modes and can be drawn.

    Raises:
        InvalidRun: naming the step and layer, and what is impossible.
    """
    names = [layer.name for layer in events[0].layers] if events else []
    before = 0
    for event in events:
        if not before < event.step <= spec.steps:
            raise InvalidRun(f"a probe is at step {event.step!s:.30}, out of order or range")
        if [layer.name for layer in event.layers] != names or len(set(names)) != len(names):
            raise InvalidRun("probes of one run have different layers, or one twice")
        if event.seconds is not None:
            check_number("seconds of a probe", event.seconds, SECONDS)
        for layer in event.layers:
            try:
                _check_layer(spec, layer)
            except InvalidRun as error:
                place = f"probe of {_plain(layer.name)} at step {event.step}"
                raise InvalidRun(f"{place}: {error}") from None
        before = event.step


def check_timelines(spec: RunSpec, events: Sequence[TimelineEvent]) -> None:
    """Check that a run has at most one timeline of a step, of one of its steps.

    Raises:
        InvalidRun: naming what is impossible.
    """
    if len(events) > 1:
        raise InvalidRun("the memory of two steps was recorded")
    for event in events:
        if not 0 < event.step <= spec.steps:
            raise InvalidRun(f"a timeline is of step {event.step!s:.30}, which the run has not")


def _plain(name: str) -> str:
    """The name of a layer, if it is a possible name of a PyTorch module."""
    if not _NAME.fullmatch(name):
        raise InvalidRun(f"a layer has the invalid name {name!r:.80}")
    return name


def _check_names(spec: RunSpec, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise InvalidRun("a layer is named twice")
    for name in names:
        if name not in _trained(spec):
            raise InvalidRun(f"{name!r:.80} is not a trained layer of {spec.model}")


def _trained(spec: RunSpec) -> Container[str]:
    """Names of the trained layers."""
    if spec.own_layers is not None:
        return [layer.name for layer in spec.own_layers]
    return _facts(spec)


def _facts(spec: RunSpec) -> dict[str, LayerFacts]:
    """Facts of the trained layers, by name."""
    card = model_card(spec.model)
    return _chosen_facts(card.name, spec.layers, edition(card.name))


@lru_cache(maxsize=256)
def _chosen_facts(model: str, layers: int | str, edition: str) -> dict[str, LayerFacts]:
    return {layer.name: layer for layer in chosen_facts(model, layers)}


def _check_layer(spec: RunSpec, probe: LayerProbe) -> None:
    shape = probe.shape
    _check_shape(spec, "input", shape, _modes_of(spec, probe.name))
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
        _check_pictures(probe.pictures, shape[_channel_mode(spec, probe.name, len(shape))])


def _modes_of(spec: RunSpec, name: str) -> Container[int]:
    """The numbers of modes that the input of a layer of this name may have."""
    for layer in spec.own_layers or ():
        if layer.name == name:
            return range(2, _MOST_MODES + 1) if layer.is_linear else (4,)
    card = model_card(spec.model)
    known = dict(zip(card.layer_names, card.layer_modes, strict=False))
    return (known.get(name, card.modes),)


def _check_shape(spec: RunSpec, what: str, shape: Sequence[int], modes: Container[int]) -> None:
    if len(shape) not in modes:
        raise InvalidRun(f"{what} has {len(shape)} modes, unlike the layer in {spec.model}")
    for size in shape:
        check_number(f"a size of {what}", size, Range(1, MOST_COUNT, True))
    if prod(shape) > MOST_COUNT:
        raise InvalidRun(f"{what} has more than {MOST_COUNT} elements")
    # Networks of one's own may fold other modes into the batch.
    if spec.own is None and shape[0] > spec.batch_size:
        raise InvalidRun(f"{what} has a batch of more than {spec.batch_size}")


def _check_of_model(spec: RunSpec, name: str, shape: Sequence[int]) -> None:
    """Check the channels, and height and width (or tokens) where they are tabulated."""
    facts = _facts(spec)[name]
    channel_mode = _channel_mode(spec, name, len(shape))
    # Not traced for other sizes: that takes seconds, and this is untrusted input.
    known = facts.sizes.get(spec.image_size)
    if known is not None and tuple(shape[1:]) != known[0]:
        raise InvalidRun(f"input of {name} has another shape in the model")
    if shape[channel_mode] != _channels(facts.weight_shape, facts.geometry):
        raise InvalidRun(f"input of {name} has another number of channels in the model")
    positions = [size for mode, size in enumerate(shape) if mode not in (0, channel_mode)]
    if max(positions, default=0) > spec.image_size:
        raise InvalidRun(f"input of {name} is larger than the images")


def _channels(weight_shape: tuple[int, ...], geometry: Geometry) -> int:
    return weight_shape[1] * geometry.groups


def _channel_mode(spec: RunSpec, name: str, modes: int) -> int:
    """The mode of the input of a layer that it mixes."""
    names = spec.mode_names(name, modes)
    return names.index("channel") if "channel" in names else len(names) - 1


def _check_ranks(spec: RunSpec, probe: LayerProbe) -> None:
    if probe.ranks is None:
        return
    if not spec.method.has_ranks:
        raise InvalidRun(f"ranks where {spec.method.label} has none")
    if len(probe.ranks) != len(probe.shape):
        raise InvalidRun(f"{len(probe.ranks)} ranks for {len(probe.shape)} modes")
    least = 0 if spec.method.plans_weights and not any(probe.ranks) else 1
    for rank, size in zip(probe.ranks, probe.shape, strict=True):
        check_number("a rank", rank, Range(least, size, True))


def _check_spectrum(values: Sequence[float], most: int) -> None:
    if not 1 <= len(values) <= most:
        raise InvalidRun(f"{len(values)} singular values where there are 1 to {most}")
    found = np.array(values, dtype=float)
    # If the array has a NaN, both are NaN.
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
    """Check packed values; returns their number."""
    for value in (packed.low, packed.high):
        check_number("a value of the pictures", value, _PACKED)
    if packed.low > packed.high:
        raise InvalidRun("the lowest value of the pictures is above the highest")
    try:
        return len(base64.b64decode(packed.data, validate=True))
    except (binascii.Error, ValueError):
        raise InvalidRun("pictures are not base64") from None
