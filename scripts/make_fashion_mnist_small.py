"""Sample data/fashion_mnist_small.npz from Debian's package dataset-fashion-mnist.

    apt-get install dataset-fashion-mnist
    python scripts/make_fashion_mnist_small.py

The random seed is fixed, so the same images are chosen every time; the file's hash is in
asi_core/datasets/bundled.py.
"""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np

SOURCE = Path("/usr/share/datasets/fashion-mnist")
TARGET = Path(__file__).parents[1] / "data" / "fashion_mnist_small.npz"
SEED = 0
PER_CLASS = {"train": 500, "test": 100}
FILES = {"train": "train", "test": "t10k"}


def read_idx(path: Path) -> np.ndarray:
    """An IDX file (LeCun's format): magic with the number of dimensions, sizes, bytes."""
    raw = gzip.decompress(path.read_bytes())
    dimensions = raw[3]
    header = 4 + 4 * dimensions
    sizes = np.frombuffer(raw, ">u4", count=dimensions, offset=4)
    return np.frombuffer(raw, np.uint8, offset=header).reshape(sizes)


def draw(split: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A balanced sample without replacement, shuffled."""
    images = read_idx(SOURCE / f"{FILES[split]}-images-idx3-ubyte.gz")
    labels = read_idx(SOURCE / f"{FILES[split]}-labels-idx1-ubyte.gz")
    chosen = np.concatenate(
        [
            rng.choice(np.flatnonzero(labels == label), PER_CLASS[split], replace=False)
            for label in np.unique(labels)
        ]
    )
    chosen = rng.permutation(chosen)
    return images[chosen], labels[chosen]


def main() -> None:
    rng = np.random.default_rng(SEED)
    arrays = {}
    for split in ("train", "test"):
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = draw(split, rng)
    np.savez_compressed(TARGET, **arrays)
    digest = hashlib.sha256(TARGET.read_bytes()).hexdigest()
    print(f"{TARGET} {TARGET.stat().st_size} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
