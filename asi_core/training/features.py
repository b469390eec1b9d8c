"""The frozen prefix's output, computed once an image and kept.

Images are always computed in chunks of the same size, the last one filled up, so that an image's
values do not depend on which other images it is met with: every run that shares a store trains on
the same bits.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from torch import Tensor
from torch.fx import GraphModule

from asi_core.training.prefix import crossing_values, cut_prefix
from asi_core.units import format_bytes

log = logging.getLogger(__name__)

CHUNK = 32


class FeatureStore:
    """Crossing values of one split of one data set, filled as images are first met.

    Args:
        compute: indices (CHUNK) to crossing values (CHUNK x ...).
        count: number of images.
        reserve: asked once, with the bytes that a full store needs, whether they may be used;
            otherwise nothing is kept and every call computes.
    """

    def __init__(
        self,
        compute: Callable[[Tensor], tuple[Tensor, ...]],
        count: int,
        reserve: Callable[[int], bool],
    ) -> None:
        self._compute_chunk = compute
        self._count = count
        self._reserve = reserve
        self._rows: tuple[Tensor, ...] | None = None
        self._filled = torch.zeros(count, dtype=torch.bool)
        self._keeps = True
        self._lock = threading.Lock()

    @property
    def filled_count(self) -> int:
        """Images whose values are kept."""
        return int(self._filled.sum())

    def values(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Crossing values of the images `indices` (N), each N x ..."""
        with self._lock:
            if not self._keeps:
                return self._compute_all(indices)
            missing = indices[~self._filled[indices]].unique()
            for chunk in missing.split(CHUNK) if len(missing) else ():
                if not self._keep(chunk, self._compute(chunk)):
                    return self._compute_all(indices)
            assert self._rows is not None
            return tuple(rows[indices] for rows in self._rows)

    def _keep(self, chunk: Tensor, values: tuple[Tensor, ...]) -> bool:
        """Keep a chunk's values, if there is room for all images'."""
        if self._rows is None:
            needed = sum(self._count * v[0].numel() * v.element_size() for v in values)
            self._keeps = self._reserve(needed)
            if not self._keeps:
                log.warning(
                    "the frozen features of %d images would fill %s, more than is left of "
                    "ASI_FEATURE_BYTES: they are computed anew at each step",
                    self._count,
                    format_bytes(needed),
                )
                return False
            self._rows = tuple(v.new_empty((self._count, *v.shape[1:])) for v in values)
        for rows, value in zip(self._rows, values, strict=True):
            rows[chunk] = value
        self._filled[chunk] = True
        return True

    def _compute_all(self, indices: Tensor) -> tuple[Tensor, ...]:
        parts = [self._compute(chunk) for chunk in indices.split(CHUNK)]
        return tuple(torch.cat(values) for values in zip(*parts, strict=True))

    @torch.no_grad()
    def _compute(self, chunk: Tensor) -> tuple[Tensor, ...]:
        filled_up = torch.cat([chunk, chunk[-1:].expand(CHUNK - len(chunk))])
        values = crossing_values(self._compute_chunk(filled_up))
        return tuple(value[: len(chunk)].contiguous() for value in values)


@dataclass(frozen=True, slots=True)
class FrozenPart:
    """What a store computes: a prefix, the names of its results, and the images it reads.

    Attributes:
        load: indices (N) to normalised images (N x 3 x size x size).
        images_key: tells these images, as the prefix reads them, from all others.
    """

    prefix: GraphModule
    crossing: tuple[str, ...]
    load: Callable[[Tensor], Tensor]
    images_key: str
    count: int

    @property
    def key(self) -> str:
        return prefix_digest(self.prefix, self.images_key)


class FeaturePool:
    """The stores of one process, shared by all runs whose frozen prefix and images are the same.

    A prefix that goes on where a known one ends (the head alone, after the last four layers)
    starts from what is already kept.

    Args:
        limit_bytes: the most that all stores together may hold.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._reserved = 0
        self._stores: dict[str, tuple[FrozenPart, FeatureStore]] = {}
        self._lock = threading.Lock()
        self._reservation = threading.Lock()

    def store(self, part: FrozenPart) -> FeatureStore:
        """The store of `part`, made on first use."""
        with self._lock:
            key = part.key
            if key not in self._stores:
                store = FeatureStore(self._computer(part), part.count, self._reserve)
                self._stores[key] = (part, store)
            return self._stores[key][1]

    def _computer(self, part: FrozenPart) -> Callable[[Tensor], tuple[Tensor, ...]]:
        for key, (known, store) in self._stores.items():
            if known.images_key != part.images_key:
                continue
            pieces = cut_prefix(part.prefix, known.crossing)
            if pieces is not None and prefix_digest(pieces[0], part.images_key) == key:
                return partial(_continued, pieces[1], store)
        return partial(_from_images, part)

    def _reserve(self, needed: int) -> bool:
        with self._reservation:
            fits = self._reserved + needed <= self._limit
            self._reserved += needed if fits else 0
            return fits


def _from_images(part: FrozenPart, indices: Tensor) -> tuple[Tensor, ...]:
    values: tuple[Tensor, ...] = part.prefix(part.load(indices))
    return values


def _continued(rest: GraphModule, store: FeatureStore, indices: Tensor) -> tuple[Tensor, ...]:
    values: tuple[Tensor, ...] = rest(*store.values(indices))
    return values


def prefix_digest(prefix: GraphModule, images_key: str) -> str:
    """A key for what the prefix computes: its code, its numbers, and the images it reads."""
    digest = hashlib.sha256(prefix.code.encode())
    for name, tensor in prefix.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    digest.update(images_key.encode())
    return digest.hexdigest()


def values_an_image(values: tuple[Tensor, ...]) -> int:
    """Elements an image that cross the cut."""
    return sum(prod(value.shape[1:]) for value in values)
