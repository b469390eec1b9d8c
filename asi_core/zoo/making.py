"""Making cards of networks beyond the zoo, by passes on the meta device."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from asi_core.errors import Unsupported, one_sentence
from asi_core.layers.selection import main_layers
from asi_core.layers.shapes import observed_shapes
from asi_core.methods.blocks import related
from asi_core.records import ConvGeometry, LayerShape
from asi_core.zoo.cards import SMALLEST_IMAGE, LayerKind, ModelCard
from asi_core.zoo.hugging_face import reads_tokens
from asi_core.zoo.libraries import (
    build_outside,
    named_classifiers,
    published_facts,
)
from asi_core.zoo.outside import card_as_dict, title_of

# At which a network that reads images of any size is tried as well.
_OTHER_SIZES = (32, 64, 96, 128, 160, 192, 256)

# One pass of a model on the meta device, at a size.
Pass: TypeAlias = Callable[[nn.Module, int], Any]


def images_pass(model: nn.Module, size: int) -> Any:
    """What a model gives for one image of `size` pixels a side."""
    return model(torch.empty(1, 3, size, size, device="meta"))


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """A model without weights, for passes that compute nothing."""
    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError):
        # Some compute with tensors to find out their sizes.
        return build().to("meta")


def made_facts(name: str) -> dict[str, Any]:
    """The card of a network and rows about its layers, for JSON.

    Raises:
        InvalidInput, Unavailable: as `build_outside`.
        Unsupported: if it is no image classifier or decoder whose layers can be compressed.
    """
    if reads_tokens(name):
        from asi_core.zoo.language import language_facts

        return language_facts(name)
    model = on_meta(lambda: build_outside(name)).eval().requires_grad_(False)
    published = published_facts(name, model)
    size: int = published["native_size"]
    called, outputs = _called(name, model, size)
    heads = _heads(name, model, called, outputs)
    names = in_registration_order(model, set(main_layers(model, called)) - set(heads))
    if not names:
        raise Unsupported(f"{name} has no convolution or linear layer that could be compressed.")
    shapes = traced(model, names, size, images_pass)
    card = ModelCard(
        name=name,
        title=title_of(name),
        factory=name,
        head=heads[0],
        other_heads=tuple(heads[1:]),
        head_features=sum(_inputs(model.get_submodule(head)) for head in heads),
        parameter_count=parameters_of(model),
        fixed_size=not _reads_other_sizes(model, size),
        **about_layers(model, names, shapes),
        **published,
    )
    rows = layer_rows(model, names, [size])
    return {"card": card_as_dict(card), "layers": rows}


def in_registration_order(model: nn.Module, names: Collection[str]) -> list[str]:
    """`names` of modules in the order of `named_modules`."""
    return [name for name, _ in model.named_modules() if name in names]


def parameters_of(model: nn.Module) -> int:
    """The number of a model's parameters; those that two modules share count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def about_layers(
    model: nn.Module, names: Sequence[str], shapes: Sequence[LayerShape]
) -> dict[str, Any]:
    """The fields of a card about trainable layers."""
    # A layer that is called several times has its first call's shape here.
    first = {shape.name: shape for shape in reversed(shapes)}
    counts = [len(first[name].input_shape) for name in names]
    kind: LayerKind = "linear" if isinstance(model.get_submodule(names[0]), nn.Linear) else "conv"
    return {
        "layer_kind": kind,
        "layer_count": len(names),
        "modes": max(set(counts), key=counts.count),
        "layer_names": tuple(names),
        "layer_modes": tuple(counts),
    }


def layer_rows(
    model: nn.Module, names: Sequence[str], sizes: Sequence[int], run: Pass = images_pass
) -> list[dict[str, Any]]:
    """Rows about layers of a model on the meta device, as in the table of shapes.

    A layer that is called several times has the shape of its first call.

    Args:
        names: in registration order.
        sizes: of images, pixels; or of what `run` gives the model.
    """
    sources = _sources(model, names, lambda: run(model, sizes[0]))
    found = {size: {s.name: s for s in reversed(traced(model, names, size, run))} for size in sizes}
    return [
        {
            **_row(found[sizes[0]][name], model.get_submodule(name)),
            "after": sources[name],
            "sizes": {
                str(size): [list(shapes[name].input_shape[1:]), list(shapes[name].output_shape[1:])]
                for size, shapes in found.items()
            },
        }
        for name in names
    ]


def _called(name: str, model: nn.Module, size: int) -> tuple[list[str], int]:
    """Layers in the order of their first calls, and the number of scores for an image."""
    try:
        order, output = calls_of(model, lambda: images_pass(model, size))
    except Exception as error:
        raise Unsupported(
            f"{name} cannot read images of {size} pixels on the meta device "
            f"({type(error).__name__}: {one_sentence(error)[:200]})."
        ) from error
    if not (isinstance(output, Tensor) and output.dim() == 2):
        raise Unsupported(
            f"{name} is no image classifier: for images it gives {type(output).__name__}, not one "
            "row of class scores per image."
        )
    return order, output.shape[1]


def calls_of(model: nn.Module, run: Callable[[], Any]) -> tuple[list[str], Any]:
    """Convolutions and linear layers in the order of their first calls, and what `run` returns."""
    order: dict[str, None] = {}

    def note(key: str) -> Callable[..., None]:
        return lambda *_: order.setdefault(key)

    handles = [
        layer.register_forward_hook(note(key))
        for key, layer in model.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    ]
    try:
        output = run()
    finally:
        for handle in handles:
            handle.remove()
    return list(order), output


def _heads(name: str, model: nn.Module, called: Sequence[str], outputs: int) -> list[str]:
    """The classifiers that fine-tuning replaces: those that the library names, or else the last
    layer that is called."""
    if not called:
        raise Unsupported(f"{name} calls no convolution and no linear layer.")
    layers = {layer: key for key, layer in model.named_modules() if key in set(called)}
    named = [layer for part in named_classifiers(name, model) for layer in part.modules()]
    found = [layers[one] for one in named if one in layers and _outputs(one) == outputs]
    if found:
        return found
    last = model.get_submodule(called[-1])
    if isinstance(last, nn.Conv2d) and last.kernel_size != (1, 1):
        raise Unsupported(
            f"{name} has no classifier that could be replaced: {called[-1]} is the last."
        )
    return [called[-1]]


def _outputs(classifier: nn.Module) -> int | None:
    """Its scores; None if it is of another kind."""
    if isinstance(classifier, nn.Conv2d) and classifier.kernel_size == (1, 1):
        return classifier.out_channels
    return classifier.out_features if isinstance(classifier, nn.Linear) else None


def _inputs(classifier: nn.Module) -> int:
    if isinstance(classifier, nn.Conv2d):
        return classifier.in_channels
    assert isinstance(classifier, nn.Linear)
    return classifier.in_features


def traced(model: nn.Module, names: Sequence[str], size: int, run: Pass) -> tuple[LayerShape, ...]:
    """Shapes of layers in a pass at a size, one per call."""
    with observed_shapes(model, names) as shapes:
        run(model, size)
    return related(shapes.all(names))


def _reads_other_sizes(model: nn.Module, size: int) -> bool:
    for other in _OTHER_SIZES:
        if other != size and other >= SMALLEST_IMAGE and other >= size // 2:
            try:
                images_pass(model, other)
            except Exception:
                # Whatever the network raises for images that it cannot read.
                return False
            return True
    return False


def _sources(
    model: nn.Module, names: Sequence[str], run: Callable[[], Any]
) -> dict[str, list[int]]:
    """By layer, the positions of those whose results its input depends on, but not of those that
    one of these depends on in turn."""
    inputs: dict[str, Any] = {}
    weights = {model.get_submodule(n).weight: at for at, n in enumerate(names)}

    def note(name: str) -> Callable[..., None]:
        def record(layer: nn.Module, given: Any, named: Any) -> None:
            x = given[0] if given else named["input"]
            inputs.setdefault(name, x.grad_fn)

        return record

    handles = [
        model.get_submodule(n).register_forward_pre_hook(note(n), with_kwargs=True) for n in names
    ]
    for weight in weights:
        weight.requires_grad_(True)
    try:
        with torch.enable_grad():
            _output = run()
    finally:
        for handle in handles:
            handle.remove()
    known: dict[Any, int] = {None: 0}
    below = [_weights_below(inputs[name], weights, known) for name in names]
    for weight in weights:
        weight.requires_grad_(False)
    return {name: _nearest(below, at) for at, name in enumerate(names)}


def _weights_below(start: Any, weights: dict[Any, int], known: dict[Any, int]) -> int:
    """The positions of all weights below a node of the graph, as bits; without recursion."""
    stack = [start]
    while stack:
        node = stack[-1]
        if node in known:
            stack.pop()
            continue
        below = [n for n, _ in node.next_functions if n is not None]
        open_ones = [n for n in below if n not in known]
        if open_ones:
            stack += open_ones
            continue
        at = weights.get(getattr(node, "variable", None))
        found = 0 if at is None else 1 << at
        for n in below:
            found |= known[n]
        known[node] = found
        stack.pop()
    return known[start]


def _nearest(below: Sequence[int], at: int) -> list[int]:
    """The sources of the layer at `at` that are no source of another of them."""
    sources = [other for other in range(len(below)) if below[at] >> other & 1]
    farther = 0
    for source in sources:
        farther |= below[source] & ~(1 << source)
    return [source for source in sources if not farther >> source & 1]


def _row(shape: LayerShape, layer: nn.Module) -> dict[str, Any]:
    geometry = shape.geometry._asdict() if isinstance(shape.geometry, ConvGeometry) else None
    return {
        "name": shape.name,
        "weight": list(shape.weight_shape),
        "geometry": geometry,
        "bias": layer.bias is not None,
        **({} if shape.input_id is None else {"input_id": shape.input_id}),
    }
