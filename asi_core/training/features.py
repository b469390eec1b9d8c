"""The frozen prefix's output, computed once per image and kept.

Images are always computed in chunks of the same size, the last one padded. So an image's values do
not depend on the other images of its batch: all runs that share a store train on the same bits.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor
from torch.fx import GraphModule

from asi_core.settings import read_settings
from asi_core.training.feature_files import FeatureDirectory, facts_of_values
from asi_core.training.feature_rows import MemoryRows, RowFormat, Rows, needed_bytes
from asi_core.training.prefix import crossing_values, cut_prefix
from asi_core.units import format_bytes

log = logging.getLogger(__name__)

CHUNK = 32
# Relative tolerance between results from kept features and from the whole network, as a share of
# the largest result. Only the order of summation differs (`tests/training/`).
TOLERANCE = 1e-5
# Increase when images are read, resized or normalised differently.
_FORMAT = 2

# Why rows could not be kept in the previous place.
Failed: TypeAlias = "OSError | None"


class FeatureStore:
    """Crossing values of one split of one data set, filled as images are first used.

    Args:
        compute: indices (CHUNK) to crossing values (CHUNK x ...).
        rows: rows kept by earlier processes, if any.
        make_rows: called to create rows for values like these until it returns some; None means no
            room, after which nothing is kept and every call computes.
    """

    def __init__(
        self,
        compute: Callable[[Tensor], tuple[Tensor, ...]],
        rows: Rows | None,
        make_rows: Callable[[Sequence[Tensor], Failed], Rows | None],
    ) -> None:
        self._compute_chunk = compute
        self._rows = rows
        self._make_rows = make_rows
        self._keeps = True
        self._lock = threading.Lock()

    @property
    def filled_count(self) -> int:
        """Number of images whose values are kept."""
        return 0 if self._rows is None else self._rows.filled_count

    def note_use(self) -> None:
        """Mark this store as used now."""
        if self._rows is not None:
            self._rows.note_use()

    def values(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Crossing values of the images `indices` (N), each N x ..."""
        with self._lock:
            while self._keeps:
                missing = self._rows.missing(indices) if self._rows else indices.unique()
                if self._rows and not len(missing):
                    return self._rows.read(indices)
                self._fill(missing)
            return self._compute_all(indices)

    def _fill(self, missing: Tensor) -> None:
        """Compute and keep the values of images, in new rows if writing fails."""
        for chunk in missing.split(CHUNK):
            values = self._compute(chunk)
            if self._rows is None:
                self._rows = self._make_rows(values, None)
                self._keeps = self._rows is not None
            if self._rows is None:
                return
            try:
                self._rows.write(chunk, values)
            except OSError as error:
                self._rows = self._make_rows(values, error)
                self._keeps = self._rows is not None
                return

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
        prefix: with all layers in evaluation mode, so that its results are constants of an image.
        load: indices (N) to normalised images (N x 3 x size x size), on `device`.
        images_key: identifies the images as the prefix reads them.
    """

    prefix: GraphModule
    crossing: tuple[str, ...]
    load: Callable[[Tensor], Tensor]
    images_key: str
    count: int
    device: torch.device

    @property
    def key(self) -> str:
        return prefix_digest(self.prefix, self.images_key, computed_by(self.device))


class FeaturePool:
    """The stores of one process, shared by all runs with the same frozen prefix and images.

    A prefix that extends a known one (the linear probe's, after the last four layers) starts from
    the values that are already kept.

    Args:
        limit_bytes: maximum size of all stores in memory together.
        directory: where stores are kept on disk, tried first; None for memory only.
    """

    def __init__(self, limit_bytes: int, directory: FeatureDirectory | None = None) -> None:
        self._limit = limit_bytes
        self._reserved = 0
        self._directory = directory
        self._stores: dict[str, tuple[FrozenPart, FeatureStore]] = {}
        self._lock = threading.Lock()
        self._reservation = threading.Lock()

    def store(self, part: FrozenPart) -> FeatureStore:
        """The store of `part`, created on first use."""
        with self._lock:
            return self._store(part, part.key)

    def _store(self, part: FrozenPart, key: str) -> FeatureStore:
        if key not in self._stores:
            kept = self._directory.find(key, part.device) if self._directory else None
            make_rows = partial(self._make_rows, part, key)
            store = FeatureStore(self._computer(part, key), kept, make_rows)
            self._stores[key] = (part, store)
        store = self._stores[key][1]
        store.note_use()
        return store

    def _computer(self, part: FrozenPart, own_key: str) -> Callable[[Tensor], tuple[Tensor, ...]]:
        """Compute from the known values closest to the result, or else from the images."""
        found: list[tuple[int, FrozenPart, str, GraphModule]] = []
        for key, crossing in self._known(part.images_key):
            pieces = cut_prefix(part.prefix, crossing) if key != own_key else None
            if pieces is not None:
                shorter = replace(part, prefix=pieces[0], crossing=crossing)
                if shorter.key == key:
                    found.append((len(pieces[1].graph.nodes), shorter, key, pieces[1]))
        if not found:
            return partial(_from_images, part)
        _, shorter, key, rest = min(found, key=lambda known: known[0])
        return partial(_continued, rest, self._store(shorter, key))

    def _known(self, images_key: str) -> list[tuple[str, tuple[str, ...]]]:
        """Keys and result names of the prefixes whose values for these images are kept."""
        known = {k: p.crossing for k, (p, _) in self._stores.items() if p.images_key == images_key}
        if self._directory is not None:
            known |= {key: facts.crossing for key, facts in self._directory.facts_of(images_key)}
        return list(known.items())

    def _make_rows(
        self, part: FrozenPart, key: str, values: Sequence[Tensor], failed: Failed
    ) -> Rows | None:
        if self._directory is not None and failed is None:
            facts = facts_of_values(
                values, images_key=part.images_key, crossing=part.crossing, count=part.count
            )
            try:
                rows = self._directory.make(key, facts, part.device)
            except OSError as error:
                failed = error
            else:
                if rows is not None:
                    return rows
        if failed is not None:
            log.warning("frozen features cannot be kept on disk and are kept in memory: %s", failed)
        formats = [RowFormat.of(value) for value in values]
        needed = needed_bytes(formats, part.count)
        if self._reserve(needed):
            return MemoryRows(formats, part.count, part.device)
        log.warning(
            "the frozen features of %d images need %s, more than is left of "
            "ASI_FEATURE_DISK_BYTES and ASI_FEATURE_BYTES: they are recomputed at each step",
            part.count,
            format_bytes(needed),
        )
        return None

    def _reserve(self, needed: int) -> bool:
        with self._reservation:
            fits = self._reserved + needed <= self._limit
            self._reserved += needed if fits else 0
            return fits


def installed_pool() -> FeaturePool:
    """A pool limited, in memory and on disk, by this installation's settings."""
    settings = read_settings()
    root, most = settings.features_dir, settings.feature_disk_bytes
    directory = FeatureDirectory(root, most) if root is not None and most > 0 else None
    return FeaturePool(settings.feature_bytes, directory)


def _from_images(part: FrozenPart, indices: Tensor) -> tuple[Tensor, ...]:
    values: tuple[Tensor, ...] = part.prefix(part.load(indices))
    return values


def _continued(rest: GraphModule, store: FeatureStore, indices: Tensor) -> tuple[Tensor, ...]:
    values: tuple[Tensor, ...] = rest(*store.values(indices))
    return values


def prefix_digest(prefix: GraphModule, images_key: str, computer: str) -> str:
    """A key for what the prefix computes: a hash of code, layers, parameters, images and
    computer."""
    digest = hashlib.sha256(prefix.code.encode())
    # The code names the called layers, but not their strides and other options.
    for name, layer in prefix.named_modules():
        digest.update(f"{name}: {type(layer).__qualname__}({layer.extra_repr()})".encode())
    for name, tensor in prefix.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    digest.update(f"{images_key}/{computer}/{_FORMAT}".encode())
    return digest.hexdigest()


def computed_by(device: torch.device) -> str:
    """Everything that may change the last bits of a product: device, PyTorch, threads, CPU
    features."""
    if device.type == "cpu":
        how = f"{torch.get_num_threads()}/{torch.backends.cpu.get_cpu_capability()}"
    else:
        module = torch.get_device_module(device)
        how = module.get_device_name(device) if hasattr(module, "get_device_name") else ""
    return f"{torch.__version__}/{device.type}/{how}"


def values_an_image(values: tuple[Tensor, ...]) -> int:
    """Elements per image that cross the cut."""
    return sum(prod(value.shape[1:]) for value in values)
