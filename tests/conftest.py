"""Every test has a home of its own, so that no run of the developer is touched."""

from __future__ import annotations

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
from tests.plugins import Sparse, Thinned
from tests.postgres import Postgres, find_postgres
from tests.side_by_side import long_first, shared_folder, use_own_processors

# Before anything counts them.
use_own_processors()

# What tests themselves are told.
_OF_TESTS = ("ASI_CHROMIUM", "ASI_TEST_POSTGRES_URL", "ASI_REQUIRE_POSTGRES")

settings.register_profile("suite", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = long_first(items)


@pytest.fixture(scope="session")
def features_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frozen features, computed once a session: all tests' workers share a machine."""
    return shared_folder(tmp_path_factory, "features")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, features_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh `ASI_HOME`; no other setting comes from the developer's environment."""
    for name in [name for name in os.environ if name.startswith("ASI_") and name not in _OF_TESTS]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ASI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASI_FEATURES_DIR", str(features_dir))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def store_of_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store in which there is what comes with the app, and nothing else."""
    path = tmp_path_factory.mktemp("examples") / "asi.sqlite"
    runs, jobs = RunStore(f"sqlite:///{path}"), JobStore(f"sqlite:///{path}")
    import_examples(runs, SHIPPED_FOLDER)
    import_example_jobs(jobs, SHIPPED_FOLDER / "jobs")
    for opened in (runs, jobs):
        opened.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name], "nothing waits beside it"
    return path


@pytest.fixture
def opened_before(home: Path, store_of_examples: Path) -> None:
    """A home in which the app has been opened: its store need not be filled again."""
    home.mkdir(parents=True)
    shutil.copy(store_of_examples, home)


@pytest.fixture
def empty_store(opened_before: None, home: Path, store_of_examples: Path) -> None:
    """Where others begin as if opened before: as if it never had been."""
    (home / store_of_examples.name).unlink()


@pytest.fixture
def plugins() -> Iterator[None]:
    """Two more methods are known: `Thinned`, and `Sparse` without closed form."""
    for method in (Thinned, Sparse):
        register_method(method)
    yield
    for method in (Thinned, Sparse):
        METHODS.remove(method.class_kind())


@pytest.fixture(scope="session", autouse=True)
def scanned_once() -> Iterator[None]:
    """Every AppTest looks through all installed packages for components, which takes longer than
    most pages: here, none is installed while tests run."""
    with pytest.MonkeyPatch.context() as patch:
        scan = cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """AppTest leaves its page as the process's main module, which a spawned worker would run."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture
def two_threads() -> Iterator[None]:
    """A fixed number of threads, where equal numbers to the last bit are expected."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server on which databases may be made."""
    if given := os.environ.get("ASI_TEST_POSTGRES_URL"):
        yield given
        return
    binaries = find_postgres()
    if binaries is None:
        # Where it must not be missing, such as in continuous integration.
        assert "ASI_REQUIRE_POSTGRES" not in os.environ, "there is no PostgreSQL to test with"
        pytest.skip("no PostgreSQL: install it, or set ASI_TEST_POSTGRES_URL")
    server = Postgres(binaries)
    yield server.url
    server.remove()
