"""Every test has a separate home, so that the developer's runs are not touched."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings
from streamlit.components.v2 import manifest_scanner

from asi_core.methods import METHODS, register_method
from asi_core.runs.exchange.example_jobs import import_example_jobs
from asi_core.runs.exchange.examples import SHIPPED_FOLDER, import_examples
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.run_store import RunStore
from tests.plugins import NonZero, Thinned
from tests.postgres import Postgres, find_postgres
from tests.side_by_side import (
    is_one_of_several,
    keep_bytecode,
    long_first,
    share_processors,
    shared_folder,
)
from tests.tiers import _unit_tests_stay_units, mark  # noqa: F401

# Before PyTorch is imported.
share_processors()
keep_bytecode()

# Settings of the tests themselves.
_OF_TESTS = ("ASI_CHROMIUM", "ASI_TEST_POSTGRES_URL", "ASI_REQUIRE_POSTGRES")

settings.register_profile("suite", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("suite")


# Before pytest leaves out what other marks ask for.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark(items)
    items[:] = long_first(items)


@pytest.fixture(scope="session")
def features_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frozen features, computed once per session and shared by all test processes."""
    return shared_folder(tmp_path_factory, "features")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, features_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh `ASI_HOME`; no other setting comes from the developer's environment."""
    for name in [name for name in os.environ if name.startswith("ASI_") and name not in _OF_TESTS]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ASI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASI_FEATURES_DIR", str(features_dir))
    if is_one_of_several():
        # A worker's code that runs in the test's process has as many threads as that.
        monkeypatch.setenv("ASI_THREADS", "1")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def store_of_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store with the shipped examples only, written once for all test processes."""
    shared = shared_folder(tmp_path_factory, "examples") / "asi.sqlite"
    if shared.exists():
        return shared
    path = tmp_path_factory.mktemp("written") / "asi.sqlite"
    runs, jobs = RunStore(f"sqlite:///{path}"), JobStore(f"sqlite:///{path}")
    import_examples(runs, SHIPPED_FOLDER)
    import_example_jobs(jobs, SHIPPED_FOLDER / "jobs")
    for opened in (runs, jobs):
        opened.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name], "no journal is left"
    # At once, for processes that look whether it is there; one that came first is the same.
    return path.replace(shared)


@pytest.fixture
def opened_before(home: Path, store_of_examples: Path) -> None:
    """A home in which the app has been opened, so that its store is already filled."""
    home.mkdir(parents=True)
    shutil.copy(store_of_examples, home)


@pytest.fixture
def empty_store(opened_before: None, home: Path, store_of_examples: Path) -> None:
    """Undoes `opened_before` in files that use it for all tests: the app was never opened."""
    (home / store_of_examples.name).unlink()


@pytest.fixture
def plugins() -> Iterator[None]:
    """Registers two more methods: `Thinned`, and `NonZero` without closed form."""
    for method in (Thinned, NonZero):
        register_method(method)
    yield
    for method in (Thinned, NonZero):
        METHODS.remove(method.class_kind())


@pytest.fixture(scope="session", autouse=True)
def scanned_once() -> Iterator[None]:
    """Caches the search for components in all installed packages.

    Every AppTest repeats it, which takes longer than most pages. No package is installed during
    the tests.
    """
    with pytest.MonkeyPatch.context() as patch:
        scan = cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield


@pytest.fixture(scope="module", autouse=True)
def imports_are_no_garbage() -> None:
    """Excludes what has been imported so far from garbage collection, as the app's server does.

    Streamlit collects garbage after every run of a page, and a measurement before every step: half
    of such a test would be the walk through the objects of all modules.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """Restores the main module: AppTest sets it to its page, which a spawned worker would run."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture
def two_threads() -> Iterator[None]:
    """A fixed number of threads, where bitwise equal numbers are expected."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server on which databases may be created."""
    if given := os.environ.get("ASI_TEST_POSTGRES_URL"):
        yield given
        return
    binaries = find_postgres()
    if binaries is None:
        # Required in continuous integration, for example.
        assert "ASI_REQUIRE_POSTGRES" not in os.environ, "there is no PostgreSQL to test with"
        pytest.skip("no PostgreSQL: install it, or set ASI_TEST_POSTGRES_URL")
    server = Postgres(binaries)
    yield server.url
    server.remove()
