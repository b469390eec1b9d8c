"""User images are counted where runs are requested and started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from asi_core.datasets import ArraySplit, load_dataset
from asi_core.errors import InvalidInput, Unavailable, one_sentence
from asi_core.runs.engine import worker
from asi_core.runs.engine.worker import execute
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.service import request_runs
from asi_core.settings import read_settings
from asi_core.training.batches import ImageLoader
from asi_core.training.events import EvaluationEvent
from asi_core.training.features import FeaturePool
from asi_core.training.loop import _Session, fine_tune, planned_setup
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import MODELS
from tests.datasets.pictures import (
    both_splits,
    encoded,
    noise,
    write_folder,
    write_zip,
)

CARD = MODELS["efficientnet_lite0"]


def spec(place: Path, batch_size: int, **changes: Any) -> RunSpec:
    asked = {"dataset": f"imagefolder:{place}", "batch_size": batch_size, "image_size": 32}
    return RunSpec.model_validate({"method": {"kind": "vanilla"}, "steps": 2, **asked, **changes})


def test_a_specification_outlives_its_folder(tmp_path: Path) -> None:
    asked = spec(tmp_path / "gone", 10_000)
    assert RunSpec.model_validate_json(asked.model_dump_json()) == asked


def test_a_specification_without_a_path_is_reported() -> None:
    with pytest.raises(ValidationError) as caught:
        RunSpec.model_validate({"method": {"kind": "vanilla"}, "dataset": "imagefolder:"})
    assert one_sentence(caught.value).startswith("imagefolder: must be followed by the path")


def test_a_batch_larger_than_the_training_set_is_refused_before_it_is_queued(
    tmp_path: Path,
) -> None:
    place = write_zip(tmp_path / "photos.zip", both_splits(train=3))
    store = RunStore(read_settings().database_url)
    with pytest.raises(
        InvalidInput, match=r"batch size must be at most 6, the training images of imagefol"
    ):
        request_runs(store, [spec(place, 6), spec(place, 7)], "me")
    assert store.latest_comparisons(10) == []
    assert len(request_runs(store, [spec(place, 6)], "me")) == 1


def test_what_cannot_be_read_is_refused_before_it_is_queued(tmp_path: Path) -> None:
    store = RunStore(read_settings().database_url)
    with pytest.raises(Unavailable, match="no folder or zip of images"):
        request_runs(store, [spec(tmp_path / "gone", 2)], "me")
    assert store.latest_comparisons(10) == []


def damaged(contents: dict[str, bytes]) -> dict[str, bytes]:
    """Three of the images are truncated."""
    names = sorted(contents)[::3][:3]
    return contents | {name: contents[name][:40] for name in names}


def test_a_run_on_damaged_images_ends_before_it_begins_and_names_all(tmp_path: Path) -> None:
    contents = damaged(both_splits(train=6))
    asked = spec(write_zip(tmp_path / "photos.zip", contents), 4, layers=0)
    store = RunStore(read_settings().database_url)
    (queued,) = request_runs(store, [asked], "me")
    execute(queued.id, store.url)
    ended = store.run(queued.id)
    assert ended is not None
    assert (ended.status, store.all_events(queued.id)) == ("failed", [])
    assert ended.error is not None
    assert ended.error.startswith("3 of 16 images in ")
    cut = [name for name, content in contents.items() if len(content) == 40]
    assert all(repr(name) in ended.error for name in cut)
    with pytest.raises(Unavailable, match="3 of 16 images"):
        request_runs(store, [asked.model_copy(update={"seed": 1})], "me")
    with pytest.raises(InvalidInput, match="batch size must be at most 1"):
        request_runs(store, [spec(tmp_path / "photos.zip", 12, layers=0, skip_damaged=True)], "me")
    without = asked.model_copy(update={"skip_damaged": True})
    (queued,) = request_runs(store, [without], "me")
    execute(queued.id, store.url)
    done = store.run(queued.id)
    assert done is not None
    assert done.summary is not None
    assert done.summary["images"]["left_out"] == 3
    assert done.summary["images"]["train"] + done.summary["images"]["test"] == 13
    log = "\n".join(line.text for line in store.log_tail(queued.id, 100))
    assert "damaged images left out: 3 (" in log


def test_a_run_can_be_cancelled_while_its_images_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(read_settings().database_url)
    place = write_zip(tmp_path / "photos.zip", both_splits(train=6))
    (queued,) = request_runs(store, [spec(place, 4)], "me")

    def checking(name: str) -> Iterator[int]:
        yield 2
        store.request_cancel(queued.id)
        yield 1
        pytest.fail("it went on")

    monkeypatch.setattr(worker, "check_images", checking)
    execute(queued.id, store.url)
    ended = store.run(queued.id)
    assert ended is not None
    assert (ended.status, store.all_events(queued.id)) == ("cancelled", [])


def test_the_accuracy_of_unbalanced_images_is_balanced(tmp_path: Path) -> None:
    """Compared with the network's own predictions, counted by hand."""
    contents = {f"{c}/{n}.png": encoded(noise(32, 32, n)) for c in "ab" for n in range(10)}
    contents |= {f"c/{n}.png": encoded(noise(32, 32, 99 - n)) for n in range(40)}
    asked = spec(write_zip(tmp_path / "photos.zip", contents), 16, layers=0, steps=3)
    setup = planned_setup(asked, FeaturePool(2**24), torch.device("cpu"))
    event = _Session(setup).evaluate(0)
    assert event is not None
    labels = setup.data.test.labels.tolist()
    assert [labels.count(label) for label in range(3)] == [2, 2, 8]
    with torch.no_grad():
        message = setup.tail(*setup.values("test", torch.arange(12))).argmax(1).tolist()
    own = [
        sum(t == label for t, is_it in zip(message, labels, strict=True) if is_it == label)
        / labels.count(label)
        for label in range(3)
    ]
    assert event.balanced_accuracy == pytest.approx(sum(own) / 3)
    assert event.accuracy == pytest.approx(
        sum(t == label for t, label in zip(message, labels, strict=True)) / 12
    )
    assert setup.image_counts().is_unbalanced


def test_the_loop_refuses_a_batch_larger_than_the_training_set(tmp_path: Path) -> None:
    place = write_folder(tmp_path / "photos", both_splits(train=3))
    with pytest.raises(InvalidInput, match="batch size must be at most 6"):
        next(iter(fine_tune(spec(place, 7), features=FeaturePool(0))))


def test_a_network_learns_user_images(tmp_path: Path) -> None:
    place = write_zip(tmp_path / "photos.zip", both_splits(train=8, test=2))
    events = list(fine_tune(spec(place, 8, layers=0, steps=8), features=FeaturePool(2**24)))
    assert isinstance(events[-1], EvaluationEvent)
    assert events[-1].accuracy == 1


@pytest.mark.parametrize("size", [32, 48])
def test_bundled_images_reach_the_network_unchanged(size: int) -> None:
    """Bit for bit: resized by PyTorch from the stored images."""
    split = load_dataset("fashion_mnist_small").test
    assert isinstance(split, ArraySplit)
    indices = torch.tensor([3, 1, 999])
    grey = torch.from_numpy(split.images)[indices].unsqueeze(1).expand(-1, 3, -1, -1)
    resized = torch.nn.functional.interpolate(
        grey.float() / 255, size=(size, size), mode="bilinear", align_corners=False
    )
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CARD.mean, CARD.std))
    loaded = ImageLoader(split, CARD, size, torch.device("cpu"))(indices)
    assert torch.equal(loaded, (resized - mean) / std)


def test_images_of_the_requested_size_are_not_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    split = ArraySplit(images.numpy(), torch.zeros(2, dtype=torch.int64).numpy())
    monkeypatch.setattr(
        "torch.nn.functional.interpolate", lambda *args, **more: pytest.fail("it was resized")
    )
    loaded = ImageLoader(split, CARD, 32, torch.device("cpu"))(torch.tensor([0, 1]))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CARD.mean, CARD.std))
    torch.testing.assert_close(loaded * std + mean, images.permute(0, 3, 1, 2) / 255)
