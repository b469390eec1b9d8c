"""Lesson 1: where the memory goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import prod

import streamlit as st

from asi_core.costs.accounting import StepCost
from asi_core.costs.timeline.records import Lifetime, Timeline
from asi_core.figures.lessons.guess import plot_guessed_ratio
from asi_core.figures.lessons.memory import LayerBytes, plot_growth, plot_layers
from asi_core.figures.network import NetworkLayer, draw_network
from asi_core.figures.step import plot_step
from asi_core.figures.style import Drawing, Figure
from asi_core.methods import Vanilla
from asi_core.records import ELEMENT_BYTES
from asi_core.units import format_bytes, less_or_more, times
from asi_core.zoo.cards import MODELS, ModelCard, model_card
from asi_core.zoo.shapes import tabled_sizes
from dashboard.drawings import drawings
from dashboard.frame import axis_control, figure, is_log_axis, short_percent
from dashboard.learn.controls import Controls, fixed, number, one_of
from dashboard.learn.evidence import USUAL, usual_cost, whole_steps
from dashboard.learn.lesson import Lesson, Question, Reveal
from dashboard.learn.shipped import COMPRESSED, LEAN, PLAIN, TIMELINES

_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# The use of all memory in a picture without uses.
_IN_USE = "in use"


@dataclass(frozen=True, slots=True)
class Subject:
    """What the lesson is about: the network that its experiment shows at first."""

    model: str
    layers: int
    batch: int
    side: int

    @property
    def card(self) -> ModelCard:
        return model_card(self.model)

    @property
    def is_shipped(self) -> bool:
        """Whether the store has the memory of its step."""
        step = TIMELINES[PLAIN]
        size = (step.model, self.card.layer_count, step.batch_size, step.image_size)
        return (self.model, self.layers, self.batch, self.side) == size

    @property
    def parts(self) -> str:
        """The trained layers, such as "49 convolutions"."""
        kind = "convolutions" if len(self.card.mode_names) == len(_IMAGE_MODES) else "linear layers"
        return f"{self.layers} {kind}"

    def cost(self, batch: int | None = None) -> StepCost:
        """One step of vanilla by formula, with another batch size if one is given."""
        return usual_cost(
            Vanilla(), self.model, self.layers, self.batch if batch is None else batch, self.side
        )


_IMAGE_MODES = model_card(USUAL.model).mode_names


def subject() -> Subject:
    """The whole usual network, or that of a lecturer's link."""
    model = fixed("model", one_of("model", list(MODELS), _title), USUAL.model)
    card = model_card(model)
    most = card.layer_count

    def parsed_layers(text: str) -> int:
        return int(number("layers", text, 1, most, whole=True))

    sizes = tabled_sizes(card)
    return Subject(
        model,
        fixed("layers", parsed_layers, most),
        fixed("batch_size", one_of("batch_size", _BATCHES, str), USUAL.batch_size),
        fixed("image_size", one_of("image_size", sizes, str), _usual_side(card)),
    )


def _title(name: str) -> str:
    return MODELS[name].title if name in MODELS else name


def _usual_side(card: ModelCard) -> int:
    return USUAL.image_size if USUAL.image_size in tabled_sizes(card) else card.native_size


def _weights(cost: StepCost) -> list[int]:
    """Bytes of each trained layer's weight, without bias."""
    return [ELEMENT_BYTES * prod(layer.shape.weight_shape) for layer in cost.layers]


def question() -> Question:
    about = subject()
    which = "All" if about.layers == about.card.layer_count else "The last"
    text = (
        f"{which} {about.parts} of {about.card.title} are fine-tuned on batches of "
        f"{about.batch} images of {about.side} × {about.side} pixels. Back-propagation keeps the "
        "input of each one until its weight gradient is computed.\n\n**How many times more bytes "
        "do the kept inputs take than the trained weights?**"
    )
    return Question(text, "Kept inputs, relative to the weights", 1, 100, 2, "×")


def picture() -> tuple[Figure | Drawing, str]:
    """The memory of the step over time, but not what it is used for; if it is not known, the inputs
    of all layers."""
    about = subject()
    vanilla = whole_steps().get(PLAIN) if about.is_shipped else None
    if vanilla is not None:
        caption = (
            "Formula: memory that the step adds at each of its operators, forward, then backward; "
            "the weights are there before. What is it used for?"
        )
        return drawings.get("lesson-step", partial(_plot_without_uses, vanilla)), caption
    layers = [
        NetworkLayer(one.shape.name, one.activation_bytes, True) for one in about.cost().layers
    ]
    caption = "Formula: what each layer keeps of its input, 4 bytes per number."
    return draw_network(layers, title=f"The inputs of {about.parts}"), caption


def _plot_without_uses(step: Timeline) -> Figure:
    return plot_step({PLAIN: without_uses(step)})


def without_uses(step: Timeline) -> Timeline:
    """A step in which all memory has the same use, what is inside of operators too."""
    lifetimes = [replace(one, use=_IN_USE) for one in step.lifetimes]
    lifetimes += [
        Lifetime(moment.inside_bytes, _IN_USE, moment.place, nth, nth + 1)
        for nth, moment in enumerate(step.moments)
    ]
    moments = tuple(replace(moment, inside_bytes=0) for moment in step.moments)
    return replace(step, moments=moments, lifetimes=tuple(lifetimes))


def run(controls: Controls) -> None:
    card = model_card(
        controls.choice(
            "model",
            "Model",
            list(MODELS),
            start=USUAL.model,
            title=_title,
            resets=("layers", "image_size"),
            hint="The trained layers are its last convolutions; in transformers, the last linear "
            "layers of the MLPs.",
        )
    )
    columns = st.columns(3)
    with columns[0]:
        layers = controls.slider(
            "layers",
            "Trained layers",
            (1, card.layer_count),
            start=card.layer_count,
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
            tabled_sizes(card),
            start=_usual_side(card),
            hint="Twice the image size gives four times the pixels, in every layer.",
        )
    _show(Subject(card.name, int(layers), batch, side))
    _step_by_use()


def _show(chosen: Subject) -> None:
    cost = chosen.cost()
    weights, inputs = sum(_weights(cost)), cost.activation_bytes
    st.markdown(
        f"##### {format_bytes(inputs)} of inputs for {format_bytes(weights)} of weights: "
        f"{times(inputs / weights)}"
    )
    rows = [
        LayerBytes(layer.shape.name, own, layer.activation_bytes)
        for layer, own in zip(cost.layers, _weights(cost), strict=True)
    ]
    by_batch = [chosen.cost(size).activation_bytes for size in _BATCHES]
    log = axis_control("these figures")
    left, right = st.columns(2)
    caption = "Formula: 4 bytes for each number of the trained layers' inputs and weights."
    with left:
        layers = partial(plot_layers, rows)
        other = partial(layers, log=not log)
        figure(layers(log=log), other_axis=other, key="memory-layers", caption=caption)
    with right:
        growth = partial(plot_growth, _BATCHES, by_batch, weights, chosen.batch)
        other = partial(growth, log=not log)
        figure(growth(log=log), other_axis=other, key="memory-growth", caption=caption)


def _step_by_use() -> None:
    """The step of the picture again, with its uses, beside that of ASI."""
    found = whole_steps()
    if not found:
        st.info(
            "The memory of a step over time, which is shipped with the app, is missing from this "
            "installation. The formulas above do not need it."
        )
        return
    plain, lean, asi = (found[name].peak.nbytes for name in (PLAIN, LEAN, COMPRESSED))
    st.markdown(
        f"##### At its worst moment a step of vanilla adds {format_bytes(plain)}, with lean layers "
        f"{format_bytes(lean)}, and with {COMPRESSED}, {format_bytes(asi)}: "
        f"{less_or_more(asi, lean)} than lean layers alone"
    )
    step = TIMELINES[PLAIN]
    figure(
        drawings.get("lesson-steps", partial(plot_step, found)),
        key="memory-step",
        caption=f"Formula: all layers of {model_card(step.model).title}, batch {step.batch_size}, "
        f"{step.image_size} pixels. ASI compresses the layers' inputs and nothing else: what "
        "operators need meanwhile, and weight gradients, stay. Lean layers save no second copy of "
        "what normalisation and activation functions need.",
    )


def reveal(guess: float) -> Reveal:
    about = subject()
    cost = about.cost()
    weights = sum(_weights(cost))
    truth = cost.activation_bytes / weights
    single = about.cost(batch=1).activation_bytes / weights
    return Reveal(
        truth=truth,
        meaning=f"({format_bytes(cost.activation_bytes)} of inputs)",
        plot=plot_guessed_ratio(guess, truth, weights, base_name="weights", log=is_log_axis()),
        caption="Formula: 4 bytes per number.",
        explanation=f"Weights do not grow with the batch; kept inputs do. With a single image they "
        f"would take {times(single)} the weights, with {about.batch} images {about.batch} times "
        f"that. {_halves(cost)}Kept inputs are what exhausts the memory of a small device, and "
        "what ASI compresses: it keeps a low-rank form of each trained layer's input. What other "
        "layers save comes on top.",
    )


def _halves(cost: StepCost) -> str:
    """How inputs and weights are distributed over the network, if it has two halves."""
    half = len(cost.layers) // 2
    if not half:
        return ""
    inputs = sum(layer.activation_bytes for layer in cost.layers[:half])
    weights = sum(_weights(cost)[:half])
    return (
        f"They are also distributed differently: the first {half} of the trained layers hold "
        f"{short_percent(inputs / cost.activation_bytes)} of the inputs but "
        f"{short_percent(weights / sum(_weights(cost)))} of the weights. "
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
