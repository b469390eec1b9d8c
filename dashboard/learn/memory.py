"""Lesson 1: where the memory goes."""

from __future__ import annotations

from math import prod

import streamlit as st

from asi_core.costs.accounting import StepCost
from asi_core.figures.lessons.guess import plot_guessed_ratio
from asi_core.figures.lessons.memory import LayerBytes, plot_categories, plot_growth, plot_layers
from asi_core.figures.network import NetworkLayer, draw_network
from asi_core.figures.style import Drawing
from asi_core.methods import Vanilla
from asi_core.records import ELEMENT_BYTES
from asi_core.units import format_bytes, times
from asi_core.zoo.cards import MODELS, model_card
from asi_core.zoo.shapes import tabled_sizes
from dashboard.frame import axis_control, figure, is_log_axis, short_percent
from dashboard.learn.controls import Controls
from dashboard.learn.evidence import USUAL, saved_by_category, usual_cost
from dashboard.learn.lesson import Lesson, Question, Reveal

_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def _weights(cost: StepCost) -> list[int]:
    """Bytes of each trained layer's weight, without bias."""
    return [ELEMENT_BYTES * prod(layer.shape.weight_shape) for layer in cost.layers]


def question() -> Question:
    card, side = model_card(USUAL.model), USUAL.image_size
    text = (
        f"All {card.layer_count} convolutions of {card.title} are fine-tuned on batches of "
        f"{USUAL.batch_size} images of {side} × {side} pixels. Back-propagation keeps the input of "
        "each one until its weight gradient is computed.\n\n**How many times more bytes do the "
        "kept inputs take than the trained weights?**"
    )
    return Question(text, "Kept inputs, relative to the weights", 1, 100, 2, "×")


def picture() -> tuple[Drawing, str]:
    """The inputs of all layers."""
    cost = usual_cost(Vanilla(), layers="all")
    layers = [NetworkLayer(one.shape.name, one.activation_bytes, True) for one in cost.layers]
    caption = "Formula: what each layer keeps of its input, 4 bytes per number."
    return draw_network(layers, title=f"The inputs of {len(layers)} convolutions"), caption


def run(controls: Controls) -> None:
    card = model_card(
        controls.choice(
            "model",
            "Model",
            list(MODELS),
            start=USUAL.model,
            title=lambda name: MODELS[name].title if name in MODELS else name,
            resets=("layers", "image_size"),
            hint="The trained layers are its last convolutions; in transformers, the last linear "
            "layers of the MLPs.",
        )
    )
    sizes = tabled_sizes(card)
    columns = st.columns(3)
    with columns[0]:
        layers = controls.slider(
            "layers",
            "Trained layers",
            (1, card.layer_count),
            start=min(int(USUAL.layers), card.layer_count),
            hint="How many of the last layers are trained; all layers before them are frozen.",
        )
    with columns[1]:
        batch = controls.scale(
            "batch_size",
            "Batch size",
            _BATCHES,
            start=USUAL.batch_size,
            hint="Inputs are kept for every image of the batch.",
        )
    with columns[2]:
        side = controls.scale(
            "image_size",
            "Image size, pixels",
            sizes,
            start=USUAL.image_size if USUAL.image_size in sizes else card.native_size,
            hint="Twice the image size gives four times the pixels, in every layer.",
        )
    _show(card.name, int(layers), batch, side)
    _measured()


def _show(model: str, layers: int, batch: int, side: int) -> None:
    method = Vanilla()
    cost = usual_cost(method, model, layers, batch, side)
    weights, inputs = sum(_weights(cost)), cost.activation_bytes
    st.markdown(
        f"##### {format_bytes(inputs)} of inputs for {format_bytes(weights)} of weights: "
        f"{times(inputs / weights)}"
    )
    rows = [
        LayerBytes(layer.shape.name, own, layer.activation_bytes)
        for layer, own in zip(cost.layers, _weights(cost), strict=True)
    ]
    by_batch = [usual_cost(method, model, layers, size, side).activation_bytes for size in _BATCHES]
    log = axis_control("these figures")
    left, right = st.columns(2)
    caption = "Formula: 4 bytes for each number of the trained layers' inputs and weights."
    with left:
        figure(plot_layers(rows, log=log), key="memory-layers", caption=caption)
    with right:
        plot = plot_growth(_BATCHES, by_batch, weights, batch, log=log)
        figure(plot, key="memory-growth", caption=caption)


def _measured() -> None:
    found = {
        method.label: saved
        for method in (Vanilla(), USUAL.method)
        if (saved := saved_by_category(method)) is not None
    }
    if not found:
        st.info(
            "The measurements that are shipped with the app are missing from this installation. "
            "The formulas above do not need them."
        )
        return
    figure(
        plot_categories(found),
        key="memory-kinds",
        caption=f"Measured: every tensor that PyTorch saves in one step of the last "
        f"{USUAL.layers} convolutions of {model_card(USUAL.model).title}, batch "
        f"{USUAL.batch_size}, {USUAL.image_size} pixels. ASI compresses the layers' inputs; it "
        "does not affect what activation functions and normalisations save.",
    )


def reveal(guess: float) -> Reveal:
    cost = usual_cost(Vanilla(), layers="all")
    weights = sum(_weights(cost))
    truth = cost.activation_bytes / weights
    half = len(cost.layers) // 2
    early_inputs = sum(layer.activation_bytes for layer in cost.layers[:half])
    early_weights = sum(_weights(cost)[:half])
    single = usual_cost(Vanilla(), layers="all", batch=1).activation_bytes / weights
    return Reveal(
        truth=truth,
        meaning=f"({format_bytes(cost.activation_bytes)} of inputs)",
        plot=plot_guessed_ratio(guess, truth, weights, base_name="weights", log=is_log_axis()),
        caption="Formula: 4 bytes per number.",
        explanation=f"Weights do not grow with the batch; kept inputs do. With a single image they "
        f"would take {times(single)} the weights, with {USUAL.batch_size} images "
        f"{USUAL.batch_size} times that. They are also distributed differently: the first {half} "
        f"layers see large feature maps and hold "
        f"{short_percent(early_inputs / cost.activation_bytes)} of the inputs but "
        f"{short_percent(early_weights / weights)} of the weights. Kept inputs are what exhausts "
        "the memory of a small device, and what ASI compresses: it keeps a low-rank form of each "
        "trained layer's input. What other layers save comes on top.",
    )


LESSON = Lesson(
    slug="memory",
    title="Where the memory goes",
    question=question,
    picture=picture,
    run=run,
    reveal=reveal,
    thought="You must halve the kept inputs without compressing them. Would you halve the batch "
    "size, the image size, or the number of trained layers? What does each cost you?",
    hint="Try it with the controls above: one acts in proportion, one by its square, and one "
    "depends on where in the network the layers are. Then think of the noise of the gradient, of "
    "small details in the images, and of what frozen layers cannot learn.",
)
