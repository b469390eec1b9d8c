"""Lesson 1: where the memory goes."""

from __future__ import annotations

from math import prod
from typing import Literal

import streamlit as st

from asi_core.costs.accounting import StepCost
from asi_core.costs.estimate import estimate
from asi_core.figures.lessons.guess import plot_guessed_ratio
from asi_core.figures.lessons.memory import (
    LayerBytes,
    plot_categories,
    plot_growth,
    plot_layers,
)
from asi_core.methods import Vanilla
from asi_core.records import ELEMENT_BYTES
from asi_core.units import THIN_SPACE, format_bytes, three_digits
from asi_core.zoo.cards import MODELS, model_card
from asi_core.zoo.shapes import tabled_sizes
from dashboard.frame import figure
from dashboard.learn.controls import Controls
from dashboard.learn.evidence import USUAL, saved_by_category
from dashboard.learn.lesson import Lesson, Question, Reveal

_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def vanilla_cost(
    model: str, layers: int | Literal["all"], batch_size: int, image_size: int
) -> StepCost:
    """A step of plain back-propagation, counted as it is executed."""
    return estimate(
        model,
        Vanilla(),
        layers=layers,
        batch_size=batch_size,
        image_size=image_size,
        convention="exact",
    )


def weight_bytes(cost: StepCost) -> int:
    """Of the trained layers' weights, biases left out."""
    return sum(_weights(cost))


def _weights(cost: StepCost) -> list[int]:
    return [ELEMENT_BYTES * prod(layer.shape.weight_shape) for layer in cost.layers]


def _asked(batch_size: int = USUAL.batch_size) -> StepCost:
    return vanilla_cost(USUAL.model, "all", batch_size, USUAL.image_size)


def question() -> Question:
    card, side = model_card(USUAL.model), USUAL.image_size
    return Question(
        text=f"All {card.layer_count} convolutions of {card.title} are fine-tuned on batches of "
        f"{USUAL.batch_size} images of {side} × {side} pixels. Back-propagation keeps the input of "
        "each one until its weight gradient is computed.\n\n**How many times more bytes do the "
        "kept inputs take than the weights that are trained?**",
        label="Kept inputs, in bytes of weights",
        low=1,
        high=100,
        step=1,
        start=2,
        unit="×",
    )


def run(controls: Controls) -> None:
    card = model_card(
        controls.choice(
            "model",
            "Model",
            list(MODELS),
            start=USUAL.model,
            title=lambda name: MODELS[name].title if name in MODELS else name,
            resets=("layers", "image_size"),
            hint="The trained layers are its last convolutions, or in transformers the last linear "
            "layers of the MLPs.",
        )
    )
    sizes = tabled_sizes(card)
    columns = st.columns(3)
    with columns[0]:
        layers = controls.slider(
            "layers",
            "Trained layers",
            low=1,
            high=card.layer_count,
            step=1,
            start=min(int(USUAL.layers), card.layer_count),
            hint="How many of the last layers are trained; all before them is frozen.",
        )
    with columns[1]:
        batch = controls.scale(
            "batch_size",
            "Images a batch",
            _BATCHES,
            start=USUAL.batch_size,
            hint="Inputs are kept for every image of the batch.",
        )
    with columns[2]:
        side = controls.scale(
            "image_size",
            "Image side, pixels",
            sizes,
            start=USUAL.image_size if USUAL.image_size in sizes else card.native_size,
            hint="Twice the side is four times the pixels, in every layer.",
        )
    _show(card.name, int(layers), batch, side)
    _measured()


def _show(model: str, layers: int, batch: int, side: int) -> None:
    cost = vanilla_cost(model, layers, batch, side)
    weights, inputs = weight_bytes(cost), cost.activation_bytes
    st.markdown(
        f"##### {format_bytes(inputs)} of inputs for {format_bytes(weights)} of weights: "
        f"{three_digits(inputs / weights)}{THIN_SPACE}×"
    )
    rows = [
        LayerBytes(layer.shape.name, own, layer.activation_bytes)
        for layer, own in zip(cost.layers, _weights(cost), strict=True)
    ]
    by_batch = [vanilla_cost(model, layers, size, side).activation_bytes for size in _BATCHES]
    left, right = st.columns(2)
    caption = "Formula: 4 bytes for each number of the trained layers' inputs and weights."
    with left:
        figure(plot_layers(rows), key="memory-layers", caption=caption)
    with right:
        plot = plot_growth(_BATCHES, by_batch, weights, batch)
        figure(plot, key="memory-growth", caption=caption)


def _measured() -> None:
    found = {
        method.label: saved
        for method in (Vanilla(), USUAL.method)
        if (saved := saved_by_category(method)) is not None
    }
    if not found:
        st.info(
            "What a real step saves has not been measured in this installation: the measurements "
            "that are shipped with the app are missing from its data folder. The formulas above "
            "need none."
        )
        return
    figure(
        plot_categories(found),
        key="memory-kinds",
        caption=f"Measured: every tensor that PyTorch saves in one step of the last "
        f"{USUAL.layers} convolutions of {model_card(USUAL.model).title}, batch "
        f"{USUAL.batch_size}, {USUAL.image_size} pixels. ASI makes the layers' inputs small; what "
        "activation functions and normalisations keep for themselves stays.",
    )


def reveal(guess: float) -> Reveal:
    cost = _asked()
    weights, truth = weight_bytes(cost), cost.activation_bytes / weight_bytes(cost)
    half = len(cost.layers) // 2
    early_inputs = sum(layer.activation_bytes for layer in cost.layers[:half])
    early_weights = sum(_weights(cost)[:half])
    single = _asked(batch_size=1).activation_bytes / weights
    return Reveal(
        truth=truth,
        meaning=f"({format_bytes(cost.activation_bytes)} of inputs)",
        plot=plot_guessed_ratio(guess, truth, weights, base_name="weights"),
        caption="Formula: 4 bytes a number.",
        explanation=f"Weights do not grow with the batch; kept inputs do. With a single image they "
        f"would take {three_digits(single)}{THIN_SPACE}× the weights, with {USUAL.batch_size} "
        f"images {USUAL.batch_size} times that. They also sit elsewhere: the first {half} layers "
        f"see large pictures and hold {_percent(early_inputs / cost.activation_bytes)} of the "
        f"inputs but {_percent(early_weights / weights)} of the weights. This is what a small "
        "device runs out of, and what ASI makes small: of each trained layer's input it keeps a "
        "low-rank form. What other layers save for themselves comes on top.",
    )


def _percent(share: float) -> str:
    return f"{three_digits(100 * share)}{THIN_SPACE}%"


LESSON = Lesson(
    slug="memory",
    title="Where the memory goes",
    question=question,
    run=run,
    reveal=reveal,
    thought="You must halve the kept inputs without compressing them. Would you halve the batch, "
    "the side of the images, or the number of trained layers? What does each cost you?",
    hint="Try it with the controls above: one of them acts in proportion, one by its square, and "
    "one depends on where in the network the layers sit. Then think of the noise of the "
    "gradient, of small details in the images, and of what frozen layers cannot learn.",
)
