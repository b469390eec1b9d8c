"""A run resumed from a file continues as if uninterrupted, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from asi_core.errors import Unavailable
from asi_core.runs.validity.probes import check_events
from asi_core.training import calibration
from asi_core.training.checkpoint import TrainingState, ranks_of, read_state, write_state
from asi_core.training.events import Event, StepEvent
from asi_core.training.features import FeaturePool
from asi_core.training.loop import fine_tune
from asi_core.training.spec import RunSpec
from tests.datasets.few import few_images
from tests.datasets.pictures import both_splits, write_folder

POOL = FeaturePool(2**29)
CPU = torch.device("cpu")
CASES: list[dict[str, Any]] = [
    {"method": {"kind": "vanilla"}, "momentum": 0.9},
    {"method": {"kind": "vanilla"}, "lean": False, "train_norm": True},
    {"method": {"kind": "asi", "ranks": 4}, "momentum": 0.9},
    {"method": {"kind": "asi", "explained_variance": 0.8}, "train_norm": True},
    {"method": {"kind": "asi", "ranks": 4, "refresh_every": 3, "bits": 16}},
    {"method": {"kind": "asi", "ranks": 4, "bits": 8}, "momentum": 0.9},
    {"method": {"kind": "asi", "ranks": 4, "sequential": False}, "seed": 3},
    {"method": {"kind": "hosvd", "explained_variance": 0.8}},
    {"method": {"kind": "gradient_filter", "patch": 2}, "momentum": 0.9},
    {"method": {"kind": "checkpointing"}, "momentum": 0.9},
    {"method": {"kind": "eight_bit"}},
    {"method": {"kind": "fixed_subspace", "explained_variance": 0.8}},
    {"method": {"kind": "velora"}},
    {"method": {"kind": "lora_fa"}},
    {"method": {"kind": "lora_asi", "ranks": 4}, "momentum": 0.9},
]


def spec(**changes: Any) -> RunSpec:
    small = {"steps": 7, "batch_size": 24, "image_size": 32, "layers": 4, "probe_every": 3}
    usual = {"dataset": few_images(), "evaluate_every": 100}
    return RunSpec.model_validate({**small, **usual, **changes})


def numbers(events: list[Event]) -> list[dict[str, Any]]:
    """Everything except the seconds."""
    message = []
    for event in events:
        fields = event.model_dump()
        message.append({k: v for k, v in fields.items() if "seconds" not in k})
    return message


def undisturbed(what: RunSpec) -> tuple[list[Event], list[TrainingState]]:
    states: list[TrainingState] = []
    return list(fine_tune(what, features=POOL, keep=states.append)), states


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['method']['kind']}-{len(str(c))}")
def test_a_resumed_run_continues_its_curve(case: dict[str, Any], tmp_path: Path) -> None:
    what = spec(**case)
    events, states = undisturbed(what)
    assert [state.step for state in states] == [1, 3, 6, 7]
    path = tmp_path / "run" / "state.safetensors"
    for state in states[:2]:
        write_state(state, path)
    found = read_state(path, what, CPU)
    assert found is not None
    later: list[TrainingState] = []
    resumed = list(fine_tune(what, features=POOL, resume=found, keep=later.append))
    assert numbers(resumed[1:]) == numbers([e for e in events if e.step > 3])
    assert [state.step for state in later] == [6, 7]
    last, again = states[-1].tensors, later[-1].tensors
    assert last.keys() == again.keys()
    for name, value in last.items():
        assert torch.equal(value, again[name]), name
    assert list(path.parent.iterdir()) == [path], "nothing else is left in the folder"


def test_a_resumed_run_keeps_its_choice_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine could choose otherwise, and the optimiser has a state of what is trained."""
    budget = 50_000
    sparse = {"kind": "sparse", "weight_budget_bytes": budget}
    what = spec(method=sparse, momentum=0.9, steps=4)
    events, states = undisturbed(what)
    check_events(what, events)
    chosen = ranks_of(states[0])
    assert {any(ranks) for ranks in chosen.values()} == {True, False}
    kept = {event.activation_bytes for event in events if isinstance(event, StepEvent)}
    assert all(nbytes is not None and 0 < nbytes <= budget for nbytes in kept)
    monkeypatch.setattr(calibration, "calibrate", lambda *_: pytest.fail("chosen again"))
    resumed = list(fine_tune(what, features=POOL, resume=states[0]))
    assert resumed[0] == events[0]
    assert numbers(resumed[1:]) == numbers([e for e in events if e.step > 1])


def test_a_started_epoch_is_completed(tmp_path: Path) -> None:
    """With 12 images in batches of 5, step 6 is the last and smallest of the second epoch."""
    images = write_folder(tmp_path / "photos", both_splits(train=6, test=2))
    own = {"dataset": f"imagefolder:{images}", "batch_size": 5, "probe_every": 4}
    what = spec(method={"kind": "asi", "ranks": 2}, **own)
    events, states = undisturbed(what)
    assert states[-2].step == 4
    resumed = list(fine_tune(what, features=POOL, resume=states[-2]))
    assert numbers(resumed[1:]) == numbers([e for e in events if e.step > 4])


@pytest.fixture(scope="module")
def kept() -> tuple[RunSpec, TrainingState]:
    what = spec(method={"kind": "asi", "ranks": 4})
    return what, undisturbed(what)[1][0]


def test_strides_and_seconds_come_back(kept: tuple[RunSpec, TrainingState], tmp_path: Path) -> None:
    what, state = kept
    odd = torch.arange(12.0).view(3, 4).T
    given = TrainingState(what, 5, {**state.tensors, "model.odd": odd}, seconds=12.5)
    write_state(given, tmp_path / "state")
    found = read_state(tmp_path / "state", what, CPU)
    assert found is not None
    assert (found.step, found.seconds) == (5, 12.5)
    assert found.tensors["model.odd"].stride() == odd.stride() == (1, 4)
    assert torch.equal(found.tensors["model.odd"], odd)


def test_there_may_be_none(kept: tuple[RunSpec, TrainingState], tmp_path: Path) -> None:
    assert read_state(tmp_path / "none", kept[0], CPU) is None


@pytest.mark.parametrize("where", ["header", "data", "cut", "empty", "text"])
def test_a_damaged_file_is_reported_and_not_used(
    kept: tuple[RunSpec, TrainingState], tmp_path: Path, where: str
) -> None:
    what, state = kept
    path = tmp_path / "state"
    write_state(state, path)
    content = bytearray(path.read_bytes())
    if where == "header":
        content[12] ^= 0xFF
    elif where == "data":
        content[-5] ^= 0x01
    elif where == "cut":
        del content[len(content) // 2 :]
    elif where == "empty":
        content.clear()
    else:
        content = bytearray(json.dumps({"step": 3}).encode())
    path.write_bytes(content)
    with pytest.raises(Unavailable, match=r"starts over\.$"):
        read_state(path, what, CPU)


def test_another_runs_state_is_refused(kept: tuple[RunSpec, TrainingState], tmp_path: Path) -> None:
    what, state = kept
    write_state(state, tmp_path / "state")
    other = what.model_copy(update={"seed": 1})
    with pytest.raises(Unavailable, match="another run"):
        read_state(tmp_path / "state", other, CPU)


def test_a_state_that_does_not_fit_starts_over(kept: tuple[RunSpec, TrainingState]) -> None:
    """As after an update of the app that splits models differently."""
    what, state = kept
    fewer = dict(list(state.tensors.items())[1:])
    wrong = TrainingState(what, 3, fewer)
    events = list(fine_tune(what, features=POOL, resume=wrong))
    assert numbers(events) == numbers(undisturbed(what)[0])


def test_a_full_disk_keeps_what_was_there(
    kept: tuple[RunSpec, TrainingState], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what, state = kept
    path = tmp_path / "state"
    write_state(state, path)
    before = path.read_bytes()

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asi_core.training.checkpoint._reach_disk", full)
    with pytest.raises(OSError, match="No space"):
        write_state(TrainingState(what, 6, state.tensors), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
