"""Frozen features on disk, with real kills, full disks, truncated files and sharing."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asi_core.training.feature_files import FeatureDirectory, FileRows, facts_of_values
from asi_core.training.features import CHUNK, FeaturePool
from asi_core.units import MIB
from tests.training.test_features import COUNT, Images, Long, Short, part
from tests.waiting import wait_for

CPU = torch.device("cpu")
ALL = torch.arange(COUNT)

pytestmark = pytest.mark.usefixtures("two_threads")


def pool(root: Path, limit: int = MIB) -> FeaturePool:
    return FeaturePool(MIB, FeatureDirectory(root, limit))


def expected() -> Tensor:
    return FeaturePool(MIB).store(part(Short(), "conv", Images())).values(ALL)[0]


def entries(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if not path.name.startswith(".")]


def test_a_later_process_reads_what_an_earlier_one_computed(tmp_path: Path) -> None:
    first, second = Images(), Images()
    some = torch.tensor([7, 3, 99])
    pool(tmp_path).store(part(Short(), "conv", first)).values(some)
    store = pool(tmp_path).store(part(Short(), "conv", second))
    assert store.filled_count == 3
    values = store.values(torch.tensor([99, 7, 7, 3]))[0]
    assert second.read == []
    assert torch.equal(values, expected()[torch.tensor([99, 7, 7, 3])])
    store.values(torch.tensor([7, 8]))
    assert set(second.read) == {8}


def test_a_longer_prefix_continues_from_values_on_disk(tmp_path: Path) -> None:
    pool(tmp_path).store(part(Short(), "conv", Images())).values(ALL)
    later = Images()
    found = pool(tmp_path).store(part(Long(), "late", later)).values(ALL)[0]
    assert later.read == []
    alone = FeaturePool(MIB).store(part(Long(), "late", Images())).values(ALL)[0]
    assert torch.equal(found, alone)


def test_a_damaged_row_is_computed_again(tmp_path: Path) -> None:
    pool(tmp_path).store(part(Short(), "conv", Images())).values(ALL)
    (entry,) = entries(tmp_path)
    with (entry / "0.bin").open("r+b") as file:
        row_bytes = (entry / "0.bin").stat().st_size // COUNT
        file.seek(5 * row_bytes)
        file.write(b"\0" * row_bytes)
    images = Images()
    store = pool(tmp_path).store(part(Short(), "conv", images))
    assert torch.equal(store.values(ALL)[0], expected())
    assert set(images.read) == {5}
    again = Images()
    pool(tmp_path).store(part(Short(), "conv", again)).values(ALL)
    assert again.read == []


@pytest.mark.parametrize("damage", ["0.bin", "checks.bin", "facts.json"])
def test_an_incomplete_entry_is_recreated(tmp_path: Path, damage: str) -> None:
    pool(tmp_path).store(part(Short(), "conv", Images())).values(ALL)
    (entry,) = entries(tmp_path)
    os.truncate(entry / damage, 10)
    assert torch.equal(
        pool(tmp_path).store(part(Short(), "conv", Images())).values(ALL)[0], expected()
    )
    images = Images()
    pool(tmp_path).store(part(Short(), "conv", images)).values(ALL)
    assert images.read == []


@contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """Behave like a full disk: the system refuses to write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_no_value(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = Images()
    store = pool(tmp_path).store(part(Short(), "conv", images))
    store.values(torch.arange(CHUNK))
    with no_file_grows_beyond(100):
        values = store.values(ALL)[0]
    assert torch.equal(values, expected())
    assert "cannot be kept on disk and are kept in memory" in caplog.text
    read = len(images.read)
    store.values(ALL)
    assert len(images.read) == read


def test_a_disk_that_takes_nothing_costs_no_value(tmp_path: Path) -> None:
    with no_file_grows_beyond(100):
        store = pool(tmp_path).store(part(Short(), "conv", Images()))
        assert torch.equal(store.values(ALL)[0], expected())
    assert entries(tmp_path) == []
    folder = tmp_path / "a file"
    folder.write_text("no folder")
    store = pool(folder).store(part(Short(), "conv", Images()))
    assert torch.equal(store.values(ALL)[0], expected())


def test_the_least_recently_used_is_removed(tmp_path: Path) -> None:
    size = expected().numel() * 4
    parts = [part(Short(), "conv", Images(), key=f"images {n}") for n in range(3)]
    keys = [one.key for one in parts]
    for age, one in zip((30, 20), parts[:2], strict=True):
        pool(tmp_path, 2 * size).store(one).values(ALL)
        used = (tmp_path / one.key).stat().st_mtime - age
        os.utime(tmp_path / one.key, (used, used))
    # Finding it makes the first one the most recently used.
    reader = pool(tmp_path, 2 * size).store(parts[0])
    writer = pool(tmp_path, 2 * size).store(parts[1])
    used = (tmp_path / keys[1]).stat().st_mtime - 20
    os.utime(tmp_path / keys[1], (used, used))
    pool(tmp_path, 2 * size).store(parts[2]).values(ALL)
    assert {path.name for path in entries(tmp_path)} == {keys[0], keys[2]}
    # Readers and writers of a removed entry continue.
    assert torch.equal(reader.values(ALL)[0], expected())
    assert torch.equal(writer.values(ALL)[0], expected())


def test_a_store_that_is_requested_again_is_in_use(tmp_path: Path) -> None:
    pool_, one = pool(tmp_path), part(Short(), "conv", Images())
    pool_.store(one).values(ALL)
    os.utime(tmp_path / one.key, (0, 0))
    pool_.store(one)
    assert (tmp_path / one.key).stat().st_mtime > 0


def test_what_is_larger_than_the_limit_stays_in_memory(tmp_path: Path) -> None:
    images = Images()
    store = pool(tmp_path, 100).store(part(Short(), "conv", images))
    assert torch.equal(store.values(ALL)[0], expected())
    store.values(ALL)
    assert len(images.read) == CHUNK * -(-COUNT // CHUNK)
    assert not tmp_path.exists() or entries(tmp_path) == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.bool, torch.int64])
def test_values_of_all_types_come_back(tmp_path: Path, dtype: torch.dtype) -> None:
    values = (torch.randn(4, 2, 3).to(dtype), torch.randn(4, 1))
    facts = facts_of_values(values, images_key="k", crossing=("a", "b"), count=9)
    rows = FeatureDirectory(tmp_path, MIB).make("key", facts, CPU)
    assert rows is not None
    places = torch.tensor([8, 0, 3, 5])
    rows.write(places, values)
    other = FileRows(tmp_path / "key", CPU)
    assert other.missing(torch.arange(9)).tolist() == [1, 2, 4, 6, 7]
    for found, value in zip(other.read(places), values, strict=True):
        assert found.dtype == value.dtype
        assert torch.equal(found, value)


WRITER = """
import sys, torch
from pathlib import Path
from tests.training.test_feature_files import pool, part, Short, Images, ALL
torch.set_num_threads(2)
store = pool(Path(sys.argv[1])).store(part(Short(), "conv", Images()))
while True:
    store.values(ALL)
    store._rows._trusted[:] = False
    store._rows.write(ALL, store._compute_all(ALL))
    print("written", flush=True)
"""


def test_processes_share_an_entry_and_may_be_killed(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"written\n"
        images = Images()
        store = pool(tmp_path).store(part(Short(), "conv", images))
        for _ in range(20):
            assert torch.equal(store.values(ALL)[0], expected())
        assert images.read == []
    finally:
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait(timeout=30)
    wait_for(lambda: all(w.poll() is not None for w in writers), 10, "both are gone")
    assert len(entries(tmp_path)) == 1
    assert torch.equal(
        pool(tmp_path).store(part(Short(), "conv", Images())).values(ALL)[0], expected()
    )


def test_what_killed_processes_left_half_made_is_removed(tmp_path: Path) -> None:
    for name in (".new-1", ".gone-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.bin").write_bytes(b"x")
    pool(tmp_path).store(part(Short(), "conv", Images())).values(ALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [".lock", *(path.name for path in entries(tmp_path))]
    )
