"""The package installed by `pip install .` works without the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from asi_core import __version__
from asi_core.units import MIB
from dashboard.navigation import PAGES
from tests.browser.app import Server, free_port
from tests.browser.chromium import TEST_ARGUMENTS, find_chromium
from tests.browser.session import drawn, session
from tests.browser.visiting import open_page
from tests.waiting import wait_for

ROOT = Path(__file__).parents[1]


def project_files() -> list[str]:
    """Tracked files that exist."""
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package is installed, without its dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    options = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", ".", *options, "--target", str(folder)]
    # Built from a copy, so that the build leaves no files in the checkout.
    source = tmp_path_factory.mktemp("source") / "project"
    for name in project_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(command, cwd=source, check=True)
    return folder


def environment(installed: Path, home: Path) -> dict[str, str]:
    others = {k: v for k, v in os.environ.items() if not k.startswith("ASI_")}
    return {**others, "PYTHONPATH": str(installed), "HOME": str(home)}


def json_of(installed: Path, home: Path, *arguments: str) -> Any:
    command = [sys.executable, "-m", "asi_core", *arguments, "--json"]
    own = environment(installed, home)
    ended = subprocess.run(command, cwd=home, env=own, check=True, capture_output=True)
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def served(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`asi-lab app` of the installed package, in an empty folder."""
    folder, home = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("home")
    port, log = free_port(), home / "server.log"
    command = [sys.executable, str(installed / "bin" / "asi-lab"), "app", "--port", str(port)]
    with log.open("wb") as written:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(installed, home),
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", home, process)
    try:
        wait_for(server.answers, 60, "the server's first answer")
        yield server
    finally:
        server.stop()
    assert "Traceback" not in log.read_text()
    assert not list(folder.iterdir()), "the app writes to its home only"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    assert path, "no Chromium: run `make browser`, or set ASI_CHROMIUM to one"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=TEST_ARGUMENTS)
        yield browser
        browser.close()


def test_it_serves_every_page(served: Server) -> None:
    titles = set()
    for entry in PAGES:
        elements = drawn(served, entry.path)
        assert not [element.exception for element in elements if element.HasField("exception")]
        titles |= {
            e.heading.body for e in elements if e.HasField("heading") and e.heading.tag == "h1"
        }
    assert len(titles) == len(PAGES), "each page has a unique title"


def test_it_draws_charts(served: Server, browser: Browser) -> None:
    """Their scripts and styles are files of the package; no error is logged."""
    visit = open_page(browser, served.url)
    expect(visit.page.locator(".live-chart .main-svg").first).to_be_visible()
    visit.end()


def test_it_has_its_own_settings_of_streamlit(served: Server) -> None:
    """They are beside the app, which is not the current folder."""
    with session(served) as visitor:
        assert visitor.send(21 * MIB).status == 413, "server.maxUploadSize is 20 MB"


def test_it_trains_on_its_own_images_and_keeps_the_run_at_home(
    installed: Path, tmp_path: Path
) -> None:
    short = ("--steps", "2", "--batch-size", "8", "--image-size", "32", "--layers", "1")
    found = json_of(installed, tmp_path, "train", "--method", "asi", "--rank", "2", *short)
    assert found["status"] == "completed"
    assert (tmp_path / ".asi-lab" / "asi.sqlite").is_file()


def test_it_includes_data_their_licence_and_a_command(installed: Path) -> None:
    names = {path.relative_to(installed).as_posix() for path in installed.rglob("*")}
    for name in (
        "fashion_mnist_small.npz",
        "FASHION_MNIST_LICENCE.txt",
        "examples/methods.json.gz",
    ):
        assert f"asi_core/_data/{name}" in names
    assert "asi_core/facts/layer_shapes.json" in names
    assert "asi_core/py.typed" in names, "without it, type checkers ignore the annotations"
    assert "asi_core/runs/store/migrations/versions/r0001_first_tables.py" in names
    assert "bin/asi-lab" in names
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"asi_core", "bin", f"asi_lab-{__version__}.dist-info"}


def test_it_includes_the_whole_app(installed: Path) -> None:
    app = installed / "asi_core" / "_app"
    found = {path.relative_to(app).as_posix() for path in app.rglob("*") if path.is_file()}
    parts = ("app.py", "pages/", "dashboard/", ".streamlit/")
    assert {name for name in found if not name.endswith(".pyc")} == {
        name for name in project_files() if name.startswith(parts)
    }


def test_it_names_its_licence_and_its_source(installed: Path) -> None:
    (about,) = metadata.distributions(path=[str(installed)])
    fields = about.metadata
    assert fields["License-Expression"] == "Apache-2.0"
    assert fields["Author"] == "The ASI Lab developers"
    links = [link.partition(",")[0] for link in fields.get_all("Project-URL") or []]
    assert links == ["Homepage", "Source", "Issues", "Changelog"]
    licence = about.read_text("licenses/LICENSE")
    assert licence == (ROOT / "LICENSE").read_text()
