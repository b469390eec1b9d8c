"""A few real images, for fast tests that do not depend on the images."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from asi_core.datasets import load_dataset
from tests.datasets.pictures import encoded, write_folder

TRAIN_COUNT, TEST_COUNT = 160, 40


@cache
def few_images() -> str:
    """The `dataset` of runs: a folder of `TRAIN_COUNT` + `TEST_COUNT` images of ten classes."""
    folder = Path(tempfile.mkdtemp(prefix="asi-few-images-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    data = load_dataset("fashion_mnist_small")
    contents = {}
    for name, split, count in (("train", data.train, TRAIN_COUNT), ("test", data.test, TEST_COUNT)):
        images = split.read(np.arange(count), 28)
        for number, (pixels, label) in enumerate(zip(images, split.labels, strict=False)):
            contents[f"{name}/{label}/{number}.png"] = encoded(Image.fromarray(pixels))
    return f"imagefolder:{write_folder(folder, contents)}"
