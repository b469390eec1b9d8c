"""Lesson 5: and what would you have done?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import prod

import pandas as pd
import streamlit as st

from asi_core.costs.needs import Need
from asi_core.figures.lessons.alternatives import plot_needs
from asi_core.figures.lessons.guess import plot_guess
from asi_core.figures.style import Drawing
from asi_core.figures.totals import TotalRow, draw_totals
from asi_core.methods import ASI, LoRA, LoRAOverASI, Method, Vanilla
from asi_core.records import ELEMENT_BYTES, LayerShape
from asi_core.training.spec import RunSpec
from asi_core.units import DASH, MIB, format_bytes, format_count, last_layers, less_or_more, times
from asi_core.zoo.cards import model_card
from dashboard.frame import axis_control, figure
from dashboard.learn.controls import Controls
from dashboard.learn.evidence import USUAL, needs, usual_cost
from dashboard.learn.lesson import Lesson, Question, Reveal
from dashboard.learn.shipped import (
    ALTERNATIVES,
    DEPTHS,
    MICRO_BATCHES,
    lesson_method,
    micro_batched,
)
from dashboard.tables import small_table

_METHODS = tuple(lesson_method(method) for method in ALTERNATIVES)
_ASI, _LORA, _BOTH = lesson_method(ASI), lesson_method(LoRA), lesson_method(LoRAOverASI)
_VANILLA = Vanilla()
_FIRST_SIZE = 8
_SPAN = (0.0, 200.0)
_WHOLE = DEPTHS[-1]


def question() -> Question:
    cost = usual_cost(_VANILLA, layers=_WHOLE)
    trained = _trained_bytes(_VANILLA) / _trained_bytes(_LORA)
    text = (
        f"All {len(cost.layers)} convolutions of {model_card(USUAL.model).title} are fine-tuned on "
        f"batches of {USUAL.batch_size} images; {format_bytes(cost.activation_bytes)} of their "
        "inputs are kept. “Why not LoRA?” It freezes each weight and trains two small matrices "
        f"beside it, {times(trained)} fewer numbers in all.\n\n**How many bytes does it keep, if "
        f"those that {_VANILLA.label.lower()} keeps are 100 %?**"
    )
    return Question(text, "Kept by LoRA, relative to vanilla", *_SPAN, 50.0, "%", step=1.0)


def _trained_bytes(method: Method) -> int:
    """Bytes of what a method trains of the whole network's layers, without biases."""
    return sum(
        ELEMENT_BYTES * sum(map(prod, _trained_shapes(method, layer.shape)))
        for layer in usual_cost(_VANILLA, layers=_WHOLE).layers
    )


def _trained_shapes(method: Method, shape: LayerShape) -> tuple[tuple[int, ...], ...]:
    if method.adapter is None:
        return (shape.weight_shape,)
    return method.adapter.shapes(shape.weight_shape, shape.geometry.groups)


def picture() -> tuple[Drawing, str]:
    """What the two train, which says little about what they keep."""
    full = _trained_bytes(_VANILLA)
    rows = []
    for method in (_VANILLA, _LORA):
        size = _trained_bytes(method)
        less = "" if size == full else f", {less_or_more(size, full)}"
        text = f"{format_bytes(size)}{less}"
        rows.append(TotalRow(method.label, method.kind, text, [size / MIB], [text], ""))
    plot = draw_totals(rows, title="Trained weights (formula)", unit="MiB", log=False)
    return plot, f"Formula: weights that are trained. {_LORA.settings_label}."


def run(controls: Controls) -> None:
    columns = st.columns(2)
    with columns[0]:
        depth = controls.choice(
            "depth",
            "Trained layers",
            list(map(str, DEPTHS)),
            start=str(_WHOLE),
            title=_depth_title,
            hint="Weights count more in the last layers, inputs in the whole network.",
        )
    with columns[1]:
        size = controls.scale(
            "micro_batch",
            "Images in a micro-batch",
            MICRO_BATCHES,
            start=_FIRST_SIZE,
            hint=f"A batch of {USUAL.batch_size} images is processed in parts; their gradients are "
            "summed before the update.",
        )
    layers = next(layers for layers in DEPTHS if str(layers) == depth)
    found = needs()
    if not found:
        st.info(
            "What steps need at once, which is shipped with the app, is missing from this "
            "installation: the lesson shows what is kept."
        )
        st.markdown(f"##### {_kept_sentence(layers, size)}")
    else:
        st.markdown(f"##### {_needed_sentence(found, layers, size)}")
    _figures(found, layers, size)
    _table(found, layers, size)


def _depth_title(name: str) -> str:
    return next((last_layers(one) for one in DEPTHS if str(one) == name), name)


def needed(found: Mapping[RunSpec, Need], method: Method, layers: int | str, size: int) -> int:
    """Bytes that training needs at once, with frozen weights in flash."""
    return found[micro_batched(method, layers, size)].total(frozen_in_flash=True)


def _kept_sentence(layers: int | str, size: int) -> str:
    kept = (
        f"{method.label} {format_bytes(_kept(method, layers, size))}"
        for method in (_VANILLA, _ASI, _LORA, _BOTH)
    )
    return f"{_kept_title(size)}: {', '.join(kept)}"


def _kept(method: Method, layers: int | str, size: int) -> int:
    return usual_cost(method, layers=layers, batch=size).activation_bytes


def _needed_sentence(found: Mapping[RunSpec, Need], layers: int | str, size: int) -> str:
    whole = needed(found, _VANILLA, layers, USUAL.batch_size)
    parts = {method: needed(found, method, layers, size) for method in _METHODS}
    alone = f"vanilla needs {format_bytes(parts[_VANILLA])} at once"
    if size == USUAL.batch_size:
        start = f"In one piece, {alone}"
    else:
        start = f"In micro-batches of {size}, {alone} instead of {format_bytes(whole)}"
    return (
        f"{start}; {_ASI.label} then needs {format_bytes(parts[_ASI])}, {_LORA.label} "
        f"{format_bytes(parts[_LORA])}, {_BOTH.label} {format_bytes(parts[_BOTH])}"
    )


def _figures(found: Mapping[RunSpec, Need], layers: int | str, size: int) -> None:
    log = axis_control("these figures")
    left, right = st.columns(2)
    with left:
        full = _kept(_VANILLA, layers, size)
        rows = [_kept_row(method, layers, size, full) for method in _METHODS]
        kept = partial(draw_totals, rows, title=_kept_title(size), unit="MiB")
        figure(
            kept(log=log),
            other_axis=partial(kept, log=not log),
            key="alternatives-kept",
            caption=f"Formula, exact convention: {_depth_title(str(layers)).lower()}, compared "
            "with vanilla in the same micro-batches.",
        )
    with right:
        if found:
            curves = [
                (m.label, m.kind, [needed(found, m, layers, one) for one in MICRO_BATCHES])
                for m in _METHODS
            ]
            needs = partial(plot_needs, MICRO_BATCHES, curves, size)
            figure(
                needs(log=log),
                other_axis=partial(needs, log=not log),
                key="alternatives-needs",
                caption="Formula: weights, gradients, what is kept and what operators need "
                "meanwhile, at the worst moment; frozen weights are not counted.",
            )


def _kept_title(size: int) -> str:
    return f"Kept of {size} image{'s' if size > 1 else ''}"


def _kept_row(method: Method, layers: int | str, size: int, full: int) -> TotalRow:
    kept = _kept(method, layers, size)
    less = "" if kept == full else f", {less_or_more(kept, full)}"
    text = f"{format_bytes(kept)}{less}"
    return TotalRow(method.label, method.kind, text, [kept / MIB], [text], text)


def _table(found: Mapping[RunSpec, Need], layers: int | str, size: int) -> None:
    shown, rows = [], []
    for method in _METHODS:
        cost = usual_cost(method, layers=layers, batch=size)
        macs = cost.macs.total * (USUAL.batch_size // size)
        need = needed(found, method, layers, size) if found else None
        name, gradients = method.settings_label, _gradients(method)
        shown.append(
            {
                "method": name,
                "kept": format_bytes(cost.activation_bytes),
                "needed at once": DASH if need is None else format_bytes(need),
                "computed for a batch": format_count(macs, "MACs"),
                "gradients": gradients,
            }
        )
        numbers = {"kept_bytes": cost.activation_bytes, "needed_bytes": need, "batch_macs": macs}
        rows.append({"method": name, **numbers, "gradients": gradients})
    small_table(
        pd.DataFrame(shown),
        pd.DataFrame(rows),
        key="alternatives-numbers",
        caption=f"Formula, for {USUAL.batch_size} images in micro-batches of {size}. Micro-batches "
        "leave vanilla's gradient as it is: frozen normalisation sees no batch.",
    )


def _gradients(method: Method) -> str:
    if method.adapter is not None:
        return "of two small matrices"
    shape = usual_cost(_VANILLA).layers[0].shape
    return "exact" if method.is_exact(shape) else "approximate"


def reveal(guess: float) -> Reveal:
    kept = {method: _kept(method, _WHOLE, USUAL.batch_size) for method in (_VANILLA, _LORA)}
    truth = 100 * kept[_LORA] / kept[_VANILLA]
    return Reveal(
        truth=truth,
        meaning=f"({format_bytes(kept[_LORA])} for {format_bytes(kept[_VANILLA])})",
        plot=plot_guess(guess, truth, title="Your guess and the truth", unit="%", span=_SPAN),
        caption="Formula, exact convention: the layers' inputs, and what the first of the two "
        "matrices makes of them.",
        explanation="LoRA needs the whole input for its first matrix's gradient, and that matrix's "
        "output for the second's: little in dense layers, as much again in depthwise ones. It "
        "saves weight gradients and optimiser state. "
        "**Micro-batches** divide what is kept, exactly, but the summed gradients stay. "
        f"**Checkpointing** computes twice. ASI compresses what is left.{_plainly()}",
    )


def _plainly() -> str:
    """What ASI adds, in the last layers and in the whole network."""
    found = needs()
    if not found:
        return ""
    few, size = DEPTHS[0], _FIRST_SIZE
    asi, small, lora = (
        format_bytes(needed(found, *each))
        for each in (
            (_ASI, few, USUAL.batch_size),
            (_VANILLA, few, size),
            (_LORA, few, size),
        )
    )
    before, after = (format_bytes(needed(found, m, _WHOLE, size)) for m in (_VANILLA, _ASI))
    return (
        f" In the last {few} layers that is little: micro-batches of {size} alone need {small}, "
        f"ASI on whole batches {asi}, and LoRA in micro-batches {lora}. In the whole network ASI "
        f"brings micro-batches of {size} from {before} to {after}. They can be combined."
    )


LESSON = Lesson(
    slug="alternatives",
    title="And what would you have done?",
    question=question,
    picture=picture,
    run=run,
    reveal=reveal,
    thought="Your device has 64 MiB, and you want to train the whole network. Which of these would "
    "you combine, and what does each cost: accuracy, time, or both?",
    hint="Move the micro-batch until a method fits. Small micro-batches take longer, as less is "
    "computed at once; ASI compresses each of them; LoRA cannot reach every weight.",
)
