"""Stored runs as TensorBoard's event files, read back by TensorBoard."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from asi_core.runs.engine.event_files import scalars
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from tests.command import call
from tests.runs.kept import asi, keep, spec


@pytest.fixture
def store() -> RunStore:
    return RunStore(read_settings().database_url)


def test_every_number_of_every_run_is_read_back(store: RunStore, tmp_path: Path) -> None:
    specs = [spec(layers=0), spec(), asi(0.8)]
    runs = keep(store, specs, [0.5, 0.6, 0.7], [0, None, 10])
    # A second time, as files of the same runs are replaced.
    for _ in range(2):
        done = call("export", runs[0].comparison, "--tensorboard", str(tmp_path))
    assert done.code == 0, done.err
    places = [Path(line) for line in done.out.splitlines()]
    assert len(set(places)) == len(list((tmp_path / runs[0].comparison).iterdir())) == 3
    for run, place in zip(runs, places, strict=True):
        assert len(list(place.iterdir())) == 1
        read = EventAccumulator(str(place), size_guidance={"scalars": 0})
        read.Reload()
        expected: dict[str, dict[int, float]] = {}
        for event in store.all_events(run.id):
            for name, value in scalars(event).items():
                expected.setdefault(name, {})[event.step] = value
        assert set(read.Tags()["scalars"]) == set(expected)
        for name, by_step in expected.items():
            found = {e.step: e.value for e in read.Scalars(name)}
            assert found == {n: pytest.approx(value, rel=1e-6) for n, value in by_step.items()}
        times = [e.wall_time for e in read.Scalars("train/loss")]
        # Each step of these runs takes 20 ms.
        probed = sum(probe.seconds for probe in store.events(run.id, "probe"))  # type: ignore[union-attr,misc]
        assert times[-1] - times[0] == pytest.approx(19 * 0.02 + probed, abs=1e-3)
    assert "captured_energy/conv_head" in expected
    assert "bytes/inputs_by_formula" in expected


def test_a_refusal_is_one_line(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = keep(store, [spec()], [0.5], [10])
    (tmp_path / "file").touch()
    cases = [
        (("nothing", "--tensorboard", str(tmp_path)), "the comparison must exist, got 'nothing'"),
        ((run.comparison, "--tensorboard", str(tmp_path / "file")), "must be writable"),
        ((run.comparison, "--tensorboard", "a", "--out", "b"), "exclude each other"),
    ]
    for words, expected in cases:
        refused = call("export", *words)
        assert (refused.code, len(refused.err.splitlines())) == (2, 1)
        assert expected in refused.err
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    missing = call("export", run.comparison, "--tensorboard", str(tmp_path / "tb"))
    assert missing.code == 2
    assert "pip install 'asi-lab[tensorboard]'" in missing.err
