"""Replacing a file of weights changes the fingerprint."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from asi_core.runs.engine.worker import execute
from asi_core.runs.job_kinds import job_kind
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.library import RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.fingerprint import fingerprints_of
from asi_core.runs.submit.service import request_runs
from asi_core.training.checkpoint import TrainingState
from asi_core.training.features import FeaturePool
from asi_core.training.loop import fine_tune
from asi_core.training.spec import RunSpec
from asi_core.zoo.build import build_architecture
from asi_core.zoo.cards import MODELS, model_card
from asi_core.zoo.weights import official_fingerprint, weights_fingerprint
from tests.datasets.few import few_images

CARD = model_card("resnet18")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def write_weights(folder: Path, seed: int, dtype: torch.dtype = torch.float32) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = build_architecture(CARD).state_dict()
    path = folder / "resnet18.safetensors"
    save_file({k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}, path)
    return path


def spec(**changes: Any) -> RunSpec:
    small = {"steps": 2, "batch_size": 8, "image_size": 32, "layers": 1, "dataset": few_images()}
    return RunSpec.model_validate(
        {"model": "resnet18", "method": {"kind": "vanilla"}, **small, **changes}
    )


def first_loss(store: RunStore) -> float:
    (run,) = request_runs(store, [spec()], "me")
    execute(run.id, store.url)
    (first, *_) = store.events(run.id, "step")
    assert first.kind == "step"
    return first.loss


def test_two_runs_with_other_weights_under_one_name_end_differently(
    folder: Path, home: Path
) -> None:
    store = RunStore(f"sqlite:///{home / 'asi.sqlite'}")
    write_weights(folder, 0)
    loss = first_loss(store)
    assert first_loss(store) == loss, "the same run is copied from the store"
    assert len(RunLibrary(store.url).runs()) == 1
    write_weights(folder, 1)
    assert first_loss(store) != loss
    assert len(RunLibrary(store.url).runs()) == 2


def test_files_of_the_same_size_and_time_are_distinguished_by_content(folder: Path) -> None:
    path = write_weights(folder, 0)
    about, before = path.stat(), weights_fingerprint(CARD)
    path.unlink()
    write_weights(folder, 1)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert path.stat().st_size == about.st_size
    assert weights_fingerprint(CARD) != before
    write_weights(folder, 0)
    assert weights_fingerprint(CARD) == before


def test_official_weights_have_the_same_fingerprint_before_they_are_downloaded(
    folder: Path,
) -> None:
    """EfficientNet-Lite0's weights come with a package, ResNet-18's are not available here."""
    for card in (CARD, MODELS["efficientnet_lite0"]):
        assert weights_fingerprint(card) == official_fingerprint(card) == card.weights.sha256
    random, pretrained = fingerprints_of([spec(pretrained=False), spec()])
    assert random != pretrained
    write_weights(folder, 0)
    assert fingerprints_of([spec(pretrained=False), spec()]) != [random, pretrained]
    assert fingerprints_of([spec(pretrained=False)]) == [random]


def test_the_fingerprint_is_that_of_the_weights_used(folder: Path, home: Path) -> None:
    """The file is replaced while the run waits: its numbers are those of the new one."""
    store = RunStore(f"sqlite:///{home / 'asi.sqlite'}")
    write_weights(folder, 0)
    (run,) = request_runs(store, [spec()], "me")
    earlier = fingerprints_of([spec()])
    write_weights(folder, 1)
    execute(run.id, store.url)
    assert store.answered(earlier) == {}
    assert list(store.answered(fingerprints_of([spec()]))) == fingerprints_of([spec()])


def test_results_of_jobs_belong_to_their_weights(folder: Path, home: Path) -> None:
    jobs = JobStore(f"sqlite:///{home / 'asi.sqlite'}")
    write_weights(folder, 0)
    job = jobs.create("calibrate", spec(), "me")
    token = jobs.attempts.claim(job.id)
    assert token is not None
    jobs.complete(job.id, token, {"layers": []})
    assert jobs.latest("calibrate", spec(), "completed") is not None
    write_weights(folder, 1)
    assert jobs.latest("calibrate", spec(), "completed") is None
    images = jobs.create("samples", spec(), "me")
    write_weights(folder, 0)
    assert jobs.latest("samples", spec()) == images, "images do not depend on weights"
    assert "pretrained" not in job_kind("samples").settings


def test_a_checkpoint_is_not_continued_on_other_weights(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    states: list[TrainingState] = []
    pool = FeaturePool(2**28)
    write_weights(folder, 0)
    list(fine_tune(spec(), features=pool, keep=states.append))
    write_weights(folder, 1)
    events = list(fine_tune(spec(), features=pool, resume=states[0]))
    assert [event.step for event in events if event.kind == "step"] == [1, 2]
    assert "pretrained weights or the images have changed" in caplog.text


def test_half_precision_is_converted_and_logged(folder: Path, home: Path) -> None:
    store = RunStore(f"sqlite:///{home / 'asi.sqlite'}")
    write_weights(folder, 0, torch.float16)
    (run,) = request_runs(store, [spec()], "me")
    execute(run.id, store.url)
    lines = " ".join(line.text for line in store.log_tail(run.id, 100))
    assert "resnet18.safetensors, converted from float16 to float32" in lines
