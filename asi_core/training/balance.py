"""Test sets in which some classes have many more images than others.

There, accuracy depends mostly on the large classes: with 95 images of one class and 5 of another, a
network that always predicts the first reaches 0.95. Its balanced accuracy, the mean of the
per-class accuracies, is 0.5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Ratio of the largest to the smallest class from which on a test set is called very unbalanced.
VERY_UNBALANCED = 3


def is_very_unbalanced(labels: NDArray[np.int64]) -> bool:
    """Whether the largest class has at least `VERY_UNBALANCED` times the images of the smallest.

    Classes without images are ignored.

    Args:
        labels: of all test images (N).
    """
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return len(counts) > 0 and bool(counts.max() >= VERY_UNBALANCED * counts.min())


def balanced_accuracy(labels: NDArray[np.int64], right: NDArray[np.bool_]) -> float:
    """The mean per-class accuracy (recall), 0 to 1, over the classes that have images.

    Args:
        labels: of all test images (N, at least one).
        right: whether each was classified correctly (N).
    """
    counts = np.bincount(labels)
    hits = np.bincount(labels, weights=right)
    there = counts > 0
    return float((hits[there] / counts[there]).mean())
