"""The setup of a run of the user's own network on batches of the user's own."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from math import prod
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from asi_core.compression.config import Compression
from asi_core.compression.prepare import prepare_, unchanged_memories
from asi_core.compression.verbs import layer_shapes
from asi_core.costs.forward import call_model
from asi_core.errors import InvalidInput, one_sentence
from asi_core.layers.selection import matching
from asi_core.layers.surgery import methods_of
from asi_core.methods import Method
from asi_core.records import LayerShape
from asi_core.training.events import PreparedEvent
from asi_core.training.own_network import RECIPE, OwnLayer, OwnNetwork, own_name
from asi_core.training.spec import RunSpec

log = logging.getLogger(__name__)

Loss = Callable[[Tensor, Tensor], Tensor]


class OwnSetup:
    """A network that is prepared for its training, and batches that its user reads.

    Attributes:
        report: what `prepare_` did.
        shapes: of the trained layers in the first batch.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[Any],
        config: Compression,
        *,
        test: Iterable[Any] | None,
        loss: Loss,
        recipe: Mapping[str, Any],
    ) -> None:
        _check(config, recipe, test)
        self.tail, self.loss_of, self._test = model, loss, test
        self.device = next((p.device for p in model.parameters()), torch.device("cpu"))
        # Before the first batch: a loader may draw its order from this generator.
        torch.manual_seed(recipe.get("seed", RunSpec.model_fields["seed"].default))
        self._batches = _endless(batches)
        self._first = next(self._batches)
        values, labels = self.read(self._first)
        self._others = [name for part in config.also_trained for name in matching(model, part)]
        weights = _digest(model, self._others)
        with _same_draws(self.device):
            self.report = prepare_(model, config, example=values)
            self.layer_names = [layer.name for layer in self.report.layers]
            self.head: str | None = None
            self._methods = methods_of(model, self.layer_names, config.method, config.per_layer)
            self._shapes: dict[tuple[Any, ...], tuple[LayerShape, ...]] = {}
            self.shapes = self.step_shapes(values)
            self._check_classes(values, labels)
        self.sources = weights
        own = OwnNetwork(
            weights=weights,
            inputs=_inputs(values),
            train_images=_count(batches),
            test_images=_count(test),
            loss=getattr(loss, "__name__", type(loss).__name__),
            also_trained=tuple(self._others),
            freeze_statistics=config.freeze_statistics,
            fold=config.fold,
        )
        self.spec = self._specified(config, own, len(labels), recipe)
        log.info("%s on %s: %s", type(model).__name__, self.device, ", ".join(self.layer_names))

    @property
    def methods(self) -> Mapping[str, Method]:
        return self._methods

    @property
    def has_test(self) -> bool:
        """Whether there are test images."""
        return self._test is not None

    def prepared(self) -> PreparedEvent:
        """The event before the first step."""
        return PreparedEvent(
            step=0,
            layers=self.shapes,
            trained_parameters=self.report.trained_parameters,
            # Nothing is split off: the whole network runs at each step.
            frozen_values=prod(_inputs(self.read(self._first)[0])),
            device=str(self.device),
            threads=torch.get_num_threads(),
        )

    def trained_parameters(self) -> list[nn.Parameter]:
        """The parameters that the optimiser updates."""
        return [p for p in self.tail.parameters() if p.requires_grad]

    def batches(self, done: int) -> Iterator[Any]:
        """Endless training batches, once."""
        assert done == 0, "a loader of one's own cannot be resumed"
        yield self._first
        yield from self._batches

    def read(self, batch: Any) -> tuple[Any, Tensor]:
        """Inputs and labels of a batch, on the network's device."""
        if isinstance(batch, Mapping) and "labels" in batch:
            values: Any = {name: value for name, value in batch.items() if name != "labels"}
            labels = batch["labels"]
        elif isinstance(batch, (tuple, list)) and len(batch) == 2:
            values, labels = batch
        else:
            raise InvalidInput(
                "a batch must be inputs and labels, or a mapping with 'labels'",
                type(batch).__name__,
                "yield (inputs, labels)",
            )
        if not _are_classes(labels):
            raise InvalidInput(
                "labels must be a tensor of class indices, 0 and above",
                str(getattr(labels, "dtype", type(labels).__name__)),
                "give one class index per input",
            )
        moved = tree_map_only(Tensor, lambda t: t.to(self.device, non_blocking=True), values)
        return moved, labels.to(self.device, non_blocking=True)

    def test_batches(self) -> Iterator[tuple[Any, Tensor]]:
        """All test batches once."""
        is_empty = self._test is not None
        for batch in self._test or ():
            is_empty = False
            yield self.read(batch)
        if is_empty:
            raise InvalidInput("test batches must not be empty", "none", "leave test out")

    def logits(self, values: Any) -> Tensor:
        """The network's class scores for these inputs."""
        found = call_model(self.tail, values)
        # Networks of transformers return records.
        found = getattr(found, "logits", found)
        if not (isinstance(found, Tensor) and found.dim() >= 2):
            raise InvalidInput(
                "fine_tune needs a network that returns class scores, one row per input",
                type(found).__name__,
                "wrap it in a module that returns its scores",
            )
        return found

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of a batch."""
        return self.loss_of(logits, labels)

    def step_shapes(self, values: Any) -> tuple[LayerShape, ...]:
        """Shapes of the trained layers for inputs of these sizes."""
        key = tuple(tuple(leaf.shape) for leaf in tree_leaves(values) if isinstance(leaf, Tensor))
        if key not in self._shapes:
            with unchanged_memories(self.tail):
                found = layer_shapes(self.tail, self.layer_names, values, others=self._others)
            self._shapes[key] = found
        return self._shapes[key]

    @torch.no_grad()
    def _check_classes(self, values: Any, labels: Tensor) -> None:
        logits = self.logits(values)
        wanted = (logits.shape[0], *logits.shape[2:])
        if tuple(labels.shape) != wanted or int(labels.max()) >= logits.shape[1]:
            raise InvalidInput(
                f"labels for scores of {' x '.join(map(str, logits.shape))} must be class indices "
                f"below {logits.shape[1]}, {' x '.join(map(str, wanted))} of them",
                f"{' x '.join(map(str, labels.shape))} with a largest one of {int(labels.max())}",
                "give the network as many outputs as there are classes",
            )

    def _specified(
        self, config: Compression, own: OwnNetwork, batch_size: int, recipe: Mapping[str, Any]
    ) -> RunSpec:
        linear = {shape.name: shape.is_linear for shape in self.shapes}
        layers = tuple(
            OwnLayer(
                name=name,
                is_linear=linear[name],
                method=None if method == config.method else method,
            )
            for name, method in self._methods.items()
        )
        fields = {"lean": config.lean, "train_norm": config.train_norm, **recipe}
        try:
            return RunSpec(
                model=own_name(type(self.tail).__name__),
                dataset=own_name("batches"),
                method=config.method,
                layers=len(layers),
                batch_size=batch_size,
                own=own,
                own_layers=layers,
                **fields,
            )
        except ValidationError as error:
            raise InvalidInput(
                "the recipe of a run must be valid", one_sentence(error).rstrip("."), "change it"
            ) from None


def _are_classes(labels: Any) -> bool:
    if not isinstance(labels, Tensor) or labels.dim() == 0 or labels.numel() == 0:
        return False
    return not (labels.is_floating_point() or labels.is_complex()) and int(labels.min()) >= 0


def _check(config: Compression, recipe: Mapping[str, Any], test: Iterable[Any] | None) -> None:
    if unknown := [name for name in recipe if name not in RECIPE]:
        raise InvalidInput(
            f"the recipe has {', '.join(RECIPE)}", ", ".join(unknown), "choose one of these"
        )
    if any(m.plans_weights for m in (config.method, *config.per_layer.values())):
        raise InvalidInput(
            "which weights are trained is planned for networks by their names only",
            config.method.settings_label,
            "train one by its name, such as FILE.py:FUNCTION, or choose another method",
        )
    if any(m.memory_budget is not None for m in (config.method, *config.per_layer.values())):
        raise InvalidInput(
            "the ranks of one's own network are planned before its training",
            config.method.settings_label,
            "use asi_core.profile, asi_core.plan and Compression.from_plan",
        )
    if isinstance(test, Iterator):
        raise InvalidInput(
            "test batches are read once per evaluation",
            f"a {type(test).__name__}, which can be read once",
            "give a DataLoader or a list",
        )


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        is_empty = True
        for batch in batches:
            is_empty = False
            yield batch
        if is_empty:
            raise InvalidInput(
                "batches must be readable again and again, and not empty",
                f"a {type(batches).__name__} that has no more",
                "give a DataLoader or a list",
            )


def _count(batches: Iterable[Any] | None) -> int | None:
    """The number of images behind a loader, where it tells."""
    images = getattr(batches, "dataset", None)
    try:
        return len(images) if isinstance(images, Sized) else None
    except TypeError:
        return None


def _inputs(values: Any) -> tuple[int, ...]:
    first = next((leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)), None)
    return () if first is None else tuple(first.shape[1:])


def _digest(model: nn.Module, others: Sequence[str]) -> str:
    """A hash of the network's parameters and buffers, but those of the modules `others`."""
    digest = hashlib.sha256(type(model).__qualname__.encode())
    for name, tensor in model.state_dict().items():
        if not any(name == other or name.startswith(f"{other}.") for other in others):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            plain = tensor.detach().cpu().contiguous().flatten()
            digest.update(plain.view(torch.uint8).numpy().data if plain.numel() else b"")
    return digest.hexdigest()


def _same_draws(device: torch.device) -> Any:
    """Leave PyTorch's random generators as they are: training draws what a plain loop draws."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
