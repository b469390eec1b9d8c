"""Documents: decisions are numbered and listed, and links lead somewhere."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
DECISIONS = ROOT / "docs" / "decisions"
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


def test_every_relative_link_leads_somewhere() -> None:
    assert len(DOCUMENTS) > 100
    lost = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in DOCUMENTS
        for target in links(document)
        if not leads_somewhere(document, target)
    ]
    assert lost == []


def links(document: Path) -> list[str]:
    """Targets of links and pictures that do not leave the project."""
    found = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def leads_somewhere(document: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    path = document.parent / name if name else document
    return path.exists() and (not anchor or anchor in anchors(path))


def anchors(document: Path) -> set[str]:
    """Of its headings, as GitHub and MkDocs name them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}
