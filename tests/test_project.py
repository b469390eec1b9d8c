"""Files for contributors: GitHub's forms and workflow, and the documented commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FORMS = ("bug.yml", "idea.yml")


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_workflow_runs_the_common_script() -> None:
    job = read(".github/workflows/ci.yml")["jobs"]["test"]
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    lowest = re.search(r'requires-python = ">=(.+)"', (ROOT / "pyproject.toml").read_text())
    assert lowest is not None
    assert job["strategy"]["matrix"]["python"] == [lowest[1], "3.x"]


def test_commits_are_checked_by_the_same_ruff_as_lint() -> None:
    revisions = {repo["repo"]: repo["rev"] for repo in read(".pre-commit-config.yaml")["repos"]}
    pinned = re.search(r"^ruff==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert revisions["https://github.com/astral-sh/ruff-pre-commit"] == f"v{pinned[1]}"


@pytest.mark.parametrize("name", FORMS)
def test_forms_have_what_github_asks_for(name: str) -> None:
    form = read(f".github/ISSUE_TEMPLATE/{name}")
    assert {"name", "description", "body"} <= set(form)
    names = [field["id"] for field in form["body"]]
    assert len(set(names)) == len(names)
    assert all(field["attributes"]["label"] for field in form["body"])


def test_the_documented_make_targets_are_those_that_exist() -> None:
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    # The other two install dependencies of the tests, and are called by them.
    assert set(re.findall(r"^\| `make (\w+)`", text, re.MULTILINE)) == set(targets[1].split()) - {
        "browser",
        "postgres",
    }
