from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from asi_core.errors import InvalidInput, Unavailable
from asi_core.settings import PROJECT, Limits, Settings, read_settings
from asi_core.training.setup import default_device


def test_settings_have_defaults() -> None:
    settings = read_settings({})
    home = PROJECT / "data" / "home"
    assert settings.home == home
    assert settings.database_url == f"sqlite:///{home / 'asi.sqlite'}"
    assert settings.features_dir == home / "features"
    assert settings.checkpoints_dir == home / "checkpoints"
    assert (settings.workers, settings.read_only, settings.scheduler) == (1, False, None)


def test_every_setting_has_a_variable(tmp_path: Path) -> None:
    settings = read_settings(
        {
            "ASI_HOME": str(tmp_path),
            "ASI_WORKERS": "2",
            "ASI_READ_ONLY": "1",
            "ASI_KEEP_DAYS": "30",
            "ASI_SCHEDULER": "tcp://scheduler:8786",
            "ASI_DATABASE_URL": "postgresql://asi@db/asi",
            "ASI_MAX_STEPS": "100",
            "ASI_MAX_RUNS_PER_OWNER": "3",
            "ASI_CHECKPOINTS_DIR": "~/shared",
            "PATH": "/bin",
        }
    )
    assert settings.database_url == "postgresql://asi@db/asi"
    assert (settings.workers, settings.read_only, settings.keep_days) == (2, True, 30)
    assert (settings.limits.steps, settings.limits.runs_per_owner) == (100, 3)
    assert settings.checkpoints_dir == Path.home() / "shared"


def test_the_device_of_runs_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASI_DEVICE", "cpu")
    assert default_device() == torch.device("cpu")
    monkeypatch.setenv("ASI_DEVICE", "meta")
    with pytest.raises(
        Unavailable, match=r"cannot compute on the device 'meta' here .* or the dev"
    ):
        default_device()
    monkeypatch.setenv("ASI_DEVICE", "gpu")
    with pytest.raises(InvalidInput, match="got 'gpu': try cpu or cuda"):
        default_device()


def test_workers_share_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dask.system.cpu_count", lambda: 8)
    assert read_settings({}).threads_each == 8
    assert read_settings({"ASI_WORKERS": "3"}).threads_each == 2
    assert read_settings({"ASI_WORKERS": "20"}).threads_each == 1
    assert read_settings({"ASI_WORKERS": "3", "ASI_THREADS": "4"}).threads_each == 4


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_cpu_affinity_is_respected() -> None:
    code = (
        "import os; from asi_core.settings import read_settings;"
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]);"
        "print(read_settings({}).threads_each)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "1"


def test_every_variable_is_documented() -> None:
    text = (PROJECT / "docs" / "deployment.md").read_text()
    names = [f"ASI_{name.upper()}" for name in Settings.model_fields if name != "limits"]
    names += [f"ASI_MAX_{name.upper()}" for name in Limits.model_fields]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_an_empty_variable_is_ignored() -> None:
    assert read_settings({"ASI_USER_HEADER": "", "ASI_WORKERS": ""}) == read_settings({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ASI_WORKERS", "0"),
        ("ASI_WORKERS", "many"),
        ("ASI_MAX_STEPS", "-3"),
        ("ASI_READ_ONLY", "perhaps"),
        ("ASI_FEATURE_BYTES", "2 GiB"),
    ],
)
def test_a_wrong_value_is_reported_in_one_sentence(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name}: .*got '{value}': change or unset it"):
        read_settings({name: value})


def test_a_scheduler_needs_a_store_that_its_workers_reach() -> None:
    with pytest.raises(InvalidInput, match=r"ASI_SCHEDULER with a SQLite store.*PostgreSQL"):
        read_settings({"ASI_SCHEDULER": "tcp://scheduler:8786"})
