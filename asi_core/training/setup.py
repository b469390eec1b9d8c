"""The setup of a run: a split model, its data, and the frozen features between them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core.costs.accounting import with_batch
from asi_core.datasets import Split, dataset_card, load_dataset
from asi_core.errors import InvalidInput, Unavailable, one_sentence
from asi_core.methods import Method
from asi_core.records import LayerShape
from asi_core.settings import read_settings
from asi_core.training.balance import is_very_unbalanced
from asi_core.training.batches import ImageLoader, batch_indices
from asi_core.training.events import ImageCounts, PreparedEvent
from asi_core.training.features import FeaturePool, FeatureStore, values_an_image
from asi_core.training.frozen import FrozenStart, ImagesThemselves
from asi_core.training.layout import laid_out, layout_name
from asi_core.training.spec import RunSpec
from asi_core.training.tails import lean_tail_, repeated_tail, split_network
from asi_core.zoo.build import build_model
from asi_core.zoo.cards import model_card
from asi_core.zoo.shapes import trained_layer_shapes
from asi_core.zoo.weights import weights_fingerprint

log = logging.getLogger(__name__)

_EVALUATION_BATCH = 256
# Maximum number of damaged images named in the log.
_MOST_NAMED = 20


class TrainingSetup:
    """Everything that a run needs before the first step.

    Attributes:
        tail: crossing values to logits; its trained layers are compressed.
        prefix: images to crossing values; None if nothing is frozen before the tail.
        layout: the memory layout of the tail's tensors.
        layer_names: of the trained layers, in registration order.
        train, test: the crossing values of both splits, by image index.
        shapes: of the trained layers in a pass of full size, in forward order.
        sources: keys of the pretrained weights and the images.
    """

    def __init__(self, spec: RunSpec, pool: FeaturePool, device: torch.device) -> None:
        self.spec, self.device = spec, device
        self.data = load_dataset(spec.dataset, skip_damaged=spec.skip_damaged)
        # For user images, the specification does not contain their number.
        found = replace(dataset_card(spec.dataset), train_count=len(self.data.train))
        found.check_batch_size(spec.batch_size)
        card, classes = model_card(spec.model), len(self.data.classes)
        weights = weights_fingerprint(card) if spec.pretrained else "random"
        self.sources = f"{weights} {self.data.fingerprint}"
        model = build_model(spec.model, classes, spec.seed, pretrained=spec.pretrained).to(device)
        split = split_network(spec, model)
        start, self.layer_names = split.start, split.layer_names
        self.layout = lean_tail_(spec, start.tail)
        self.tail = repeated_tail(spec, start.tail, self.layer_names)
        self.head: str | None = model_card(spec.model).head
        self.prefix = None if start.parts is None else start.parts.prefix
        self.train = self._store(pool, start, "train")
        self.test = self._store(pool, start, "test")
        self.train_labels = torch.from_numpy(self.data.train.labels).to(device)
        self.test_labels = torch.from_numpy(self.data.test.labels).to(device)
        self.shapes = trained_layer_shapes(spec.model, spec.layers, spec.pass_size, spec.image_size)
        self._log(card.title)

    def trained_parameters(self) -> list[nn.Parameter]:
        """The parameters that the optimiser updates."""
        return [p for p in self.tail.parameters() if p.requires_grad]

    @property
    def methods(self) -> Method:
        return self.spec.method

    def prepared(self) -> PreparedEvent:
        """The event before the first step."""
        return PreparedEvent(
            step=0,
            layers=self.shapes,
            trained_parameters=sum(p.numel() for p in self.trained_parameters()),
            frozen_values=values_an_image(self.values("train", torch.tensor([0]))),
            device=str(self.device),
            threads=torch.get_num_threads(),
            layout=layout_name(self.layout),
            images=self.image_counts(),
        )

    def batches(self, done: int) -> Iterator[Tensor]:
        """Indices of training images, endlessly, without the first `done` batches."""
        order = batch_indices(len(self.data.train), self.spec.batch_size, self.spec.seed)
        return islice(order, done, None)

    def test_batches(self) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        """Crossing values and labels of all test images."""
        for indices in torch.arange(len(self.test_labels)).split(_EVALUATION_BATCH):
            yield self.values("test", indices), self.test_labels[indices]

    def logits(self, values: tuple[Tensor, ...]) -> Tensor:
        """The tail's result for crossing values."""
        found: Tensor = self.tail(*values)
        return found

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean cross entropy."""
        return F.cross_entropy(logits, labels)

    def step_shapes(self, values: tuple[Tensor, ...]) -> list[LayerShape]:
        """Shapes of the trained layers at the batch size of these values."""
        return [with_batch(shape, len(values[0])) for shape in self.shapes]

    def read(self, indices: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Crossing values and labels of training images."""
        return self.values("train", indices), self.train_labels[indices]

    def values(self, split: Literal["train", "test"], indices: Tensor) -> tuple[Tensor, ...]:
        """Crossing values of images, in the tail's layout."""
        store: FeatureStore | ImagesThemselves = getattr(self, split)
        return tuple(laid_out(value, self.layout) for value in store.values(indices))

    def images(self, indices: Tensor) -> Tensor:
        """Training images as the network reads them: N x 3 x size x size."""
        return self._loader("train")(indices)

    def image_counts(self) -> ImageCounts:
        """Numbers of images used and left out."""
        data = self.data
        return ImageCounts(
            classes=len(data.classes),
            train=len(data.train),
            test=len(data.test),
            left_out=len(data.left_out),
            is_unbalanced=is_very_unbalanced(data.test.labels),
        )

    def _log(self, title: str) -> None:
        layers = ", ".join(self.layer_names) or "only the new classifier"
        log.info("%s on %s; trained layers: %s", title, self.device, layers)
        log.info(
            "images: %d in %d classes for training, %d for testing; frozen features of %d and %d "
            "of them are kept from earlier runs",
            len(self.data.train),
            len(self.data.classes),
            len(self.data.test),
            self.train.filled_count,
            self.test.filled_count,
        )
        for remark in self.data.remarks:
            log.warning("%s", remark)
        if left_out := self.data.left_out:
            names = ", ".join(repr(name) for name, _ in left_out[:_MOST_NAMED])
            log.warning("damaged images left out: %d (%s)", len(left_out), names)

    def _store(
        self, pool: FeaturePool, start: FrozenStart, name: Literal["train", "test"]
    ) -> FeatureStore | ImagesThemselves:
        loader, size = self._loader(name), self.spec.image_size
        images_key = f"{self.data.fingerprint}/{name}/{size}/{loader.normalisation}"
        count = len(getattr(self.data, name))
        return start.store(pool, loader, images_key=images_key, count=count, device=self.device)

    def _loader(self, name: Literal["train", "test"]) -> ImageLoader:
        split: Split = getattr(self.data, name)
        card = model_card(self.spec.model)
        return ImageLoader(split, card, self.spec.image_size, self.device)


def default_device() -> torch.device:
    """The device of this installation's settings; by default the accelerator that PyTorch detects,
    or the CPU.

    Raises:
        InvalidInput: if the settings name no device of PyTorch's.
        Unavailable: if that device is not here.
    """
    chosen = read_settings().device
    if chosen is not None:
        return device_named(chosen)
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def device_named(name: str) -> torch.device:
    """The device that PyTorch calls `name`, such as "cpu", "cuda" or "cuda:1".

    Raises:
        InvalidInput: if there is no such name.
        Unavailable: if PyTorch cannot compute there.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InvalidInput(
            "a device must have a name that PyTorch knows", repr(name), "try cpu or cuda"
        ) from None
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        # Their first sentence is the reason, and the rest is advice on PyTorch.
        why = one_sentence(error).partition(". ")[0].rstrip(".")
        raise Unavailable(
            f"PyTorch {torch.__version__} cannot compute on the device {name!r} here ({why}): use "
            "a machine that has it, with its driver and a PyTorch built for it, or the device cpu."
        ) from None
    return device
