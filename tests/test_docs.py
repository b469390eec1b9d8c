"""Documents: decisions are numbered, links are valid, examples run, and the site is built."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from asi_core.cli.registry import parsed
from asi_core.methods import METHODS

ROOT = Path(__file__).parents[1]
DECISIONS = ROOT / "docs" / "decisions"
EXAMPLES = sorted(
    page for page in (ROOT / "docs" / "reference").glob("*.md") if "```python" in page.read_text()
)
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def decisions() -> list[Path]:
    return sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [path.name.partition("-")[0] for path in decisions()]
    assert numbers == [f"{number:04d}" for number in range(1, len(numbers) + 1)]


def test_decisions_have_a_title_and_a_date_and_follow_each_other() -> None:
    dates = []
    for path in decisions():
        found = re.match(r"# \S.*\n\nDate: (\S+)\n\n\S", path.read_text(encoding="utf-8"))
        assert found, path.name
        dates.append(date.fromisoformat(found[1]))
    assert dates == sorted(dates)


def test_every_decision_is_in_the_index_once_under_its_title() -> None:
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- \[(\d{4})\]\((.+?)\) (.+)$", index, re.MULTILINE)
    titles = [path.read_text(encoding="utf-8").splitlines()[0][2:] for path in decisions()]
    names = [path.name for path in decisions()]
    assert sorted(listed) == [
        (name[:4], name, title) for name, title in zip(names, titles, strict=True)
    ]


def test_every_relative_link_is_valid() -> None:
    assert len(DOCUMENTS) > 100
    lost = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in DOCUMENTS
        for target in links(document)
        if not is_valid(document, target)
    ]
    assert lost == []


def links(document: Path) -> list[str]:
    """Targets of links and images within the project."""
    found = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def is_valid(document: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    path = document.parent / name if name else document
    return path.exists() and (not anchor or anchor in anchors(path))


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub and MkDocs name them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.stem)
def test_examples_of_the_reference_run(page: Path) -> None:
    for example in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(example, str(page), "exec"), {})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


def test_the_reference_has_the_public_names(site: Path) -> None:
    pages = {page.parent.name: page.read_text() for page in (site / "reference").rglob("*.html")}
    for page, name in (
        ("surgery", "asi_core.layers.surgery.compress_"),
        ("surgery", "asi_core.layers.surgery.restore_"),
        ("compression", "asi_core.compression.prepare_"),
        ("compression", "asi_core.compression.Compression"),
        ("costs", "asi_core.costs.estimate.estimate"),
        ("training", "asi_core.training.loop.fine_tune"),
        ("training", "asi_core.training.fine_tuning.fine_tune"),
        ("runs", "asi_core.runs.engine.keeping.keep_run"),
        *(("methods", f"asi_core.methods.{method.__name__}") for method in METHODS.values()),
    ):
        assert f'id="{name}"' in pages[page], name
    assert [page for page in EXAMPLES if "doc-heading" not in pages[page.stem]] == []


def test_the_reference_has_all_commands(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (site / "reference" / "command-line" / "index.html").read_text()
    with pytest.raises(SystemExit):
        parsed(["--help"])
    commands = re.findall(r"\{([\w,]+)\}", capsys.readouterr().out)[0]
    for command in commands.split(","):
        assert f'id="{command}"' in page, command
    assert "--explained-variance" in page


def test_documents_outside_the_folder_are_pages_with_valid_links(site: Path) -> None:
    start = (site / "index.html").read_text()
    assert 'href="results/"' in start
    assert 'href="https://github.com/asi-lab/asi-lab/blob/main/LICENSE"' in start
    assert (site / "changelog" / "index.html").is_file()
