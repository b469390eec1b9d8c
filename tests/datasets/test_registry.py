from __future__ import annotations

from pathlib import Path

import pytest

from asi_core.datasets import DATASETS, check_dataset, dataset_card, load_dataset
from asi_core.errors import InvalidInput
from tests.datasets.pictures import both_splits, write_folder


def test_unknown_names_are_reported() -> None:
    for probe in (dataset_card, check_dataset, load_dataset):
        with pytest.raises(InvalidInput, match=r"'nothing'.*fashion_mnist_small.*imagefolder:PATH"):
            probe("nothing")


@pytest.mark.parametrize("name", ["imagefolder:", "imagefolder:  "])
def test_an_empty_path_is_reported(name: str) -> None:
    with pytest.raises(InvalidInput, match="must be followed by the path"):
        dataset_card(name)


def test_a_card_of_user_images_does_not_read_the_disk() -> None:
    card = dataset_card("imagefolder:/nowhere/at/all")
    assert card.name == "imagefolder:/nowhere/at/all"
    assert (card.classes, card.class_count, card.train_count, card.test_count) == (None,) * 4


def test_a_checked_card_has_the_counts(tmp_path: Path) -> None:
    name = f"imagefolder:{write_folder(tmp_path / 'photos', both_splits(train=4, test=1))}"
    card = check_dataset(name)
    assert (card.name, card.classes, card.class_count) == (name, ("cat", "dog"), 2)
    assert (card.train_count, card.test_count) == (8, 2)


def test_every_card_has_a_licence() -> None:
    assert next(iter(DATASETS)) == "fashion_mnist_small"
    for name, card in DATASETS.items():
        assert card.name == name == check_dataset(name).name
        assert card.title
        assert card.licence
        assert card.classes is None or len(card.classes) == card.class_count
        assert card.class_count
        assert card.train_count
        assert card.test_count


@pytest.mark.parametrize("name", ["fashion_mnist_small", "cifar100"])
def test_a_batch_is_no_larger_than_the_images(name: str) -> None:
    card = dataset_card(name)
    assert card.train_count
    card.check_batch_size(card.train_count)
    expected = f"batch size must be at most {card.train_count}, the training images of {name}, got"
    with pytest.raises(InvalidInput, match=expected):
        card.check_batch_size(card.train_count + 1)


def test_a_batch_of_unknown_images_is_let_through() -> None:
    dataset_card("imagefolder:photos").check_batch_size(10**9)
