"""Who may import whom: read from the imports, so that a wrong one fails."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each room may import the rooms named here, itself, and the plain records.
PLAIN = {"records", "errors", "units", "lazy", "settings", "counting"}
ALLOWED = {
    "linalg": set(),
    "methods": {"linalg"},
    "layers": {"methods", "linalg"},
    "zoo": {"layers", "methods"},
    "datasets": set(),
    "costs": {"layers", "methods", "linalg", "zoo"},
    "planning": {"methods", "costs"},
    "poster": {"methods", "costs"},
    "training": {"layers", "methods", "linalg", "costs", "zoo", "datasets", "planning"},
    "bench": {"training", "layers", "methods", "costs", "zoo"},
    "runs": {"training", "costs", "planning", "methods", "zoo", "datasets"},
    "figures": set(),
    "cli": {
        "bench",
        "runs",
        "training",
        "costs",
        "methods",
        "planning",
        "poster",
        "zoo",
        "datasets",
    },
    "__main__": {"cli"},
    "__init__": {
        *("bench", "costs", "datasets", "figures", "layers", "linalg", "methods"),
        *("planning", "poster", "runs", "training", "zoo"),
    },
}
LIBRARY_HOMES = {
    "streamlit": ("app.py", "pages/", "dashboard/"),
    "distributed": ("asi_core/runs/cluster.py", "asi_core/runs/tickets.py"),
    "dask": ("asi_core/runs/cluster.py", "asi_core/settings.py"),
    "alembic": ("asi_core/runs/schema.py", "asi_core/runs/migrations/"),
    "sqlalchemy": ("asi_core/runs/",),
    "plotly": ("asi_core/figures/",),
    "starlette": ("app.py", "dashboard/visitor.py"),
}
TORCH_FREE = [
    "asi_core",
    "asi_core.cli",
    "asi_core.costs.accounting",
    "asi_core.costs.devices",
    "asi_core.costs.estimate",
    "asi_core.costs.formulas",
    "asi_core.costs.spectrum_ranks",
    "asi_core.datasets",
    "asi_core.figures.curves",
    "asi_core.figures.drift",
    "asi_core.figures.pictures",
    "asi_core.figures.pareto",
    "asi_core.figures.report",
    "asi_core.figures.shades",
    "asi_core.figures.explore",
    "asi_core.figures.spectra",
    "asi_core.methods",
    "asi_core.planning",
    "asi_core.poster",
    "asi_core.runs.engine",
    "asi_core.runs.examples",
    "asi_core.runs.forecast",
    "asi_core.runs.library",
    "asi_core.runs.service",
    "asi_core.runs.store",
    "asi_core.training.pictures",
    "asi_core.runs.sweeps",
    "asi_core.runs.verdict",
    "asi_core.training.summary",
    "asi_core.zoo.shapes",
    "asi_core.zoo.weights",
    "asi_core.figures.plan",
    "asi_core.figures.poster",
    "asi_core.runs.jobs",
    "asi_core.runs.example_jobs",
    "dashboard.compare.report",
    "dashboard.train.form",
    "dashboard.history",
    "dashboard.train.live",
    "dashboard.spectra.view",
    "pages.explore",
    "dashboard.jobs",
    "dashboard.plan.view",
    "dashboard.poster.view",
    "dashboard.glossary",
    "dashboard.learn.page",
    "dashboard.main",
    "dashboard.startup",
]


def source_files() -> list[Path]:
    found = [ROOT / "app.py"]
    for folder in ("asi_core", "dashboard", "pages"):
        found += sorted((ROOT / folder).rglob("*.py"))
    return found


def imported_modules(path: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def room(path: Path) -> str:
    return path.relative_to(ROOT / "asi_core").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", source_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    modules = imported_modules(path)
    if "asi_core" in path.parts and path.is_relative_to(ROOT / "asi_core"):
        own = room(path)
        reached = {m.split(".")[1] for m in modules if m.startswith("asi_core.")}
        if own in PLAIN:
            assert reached <= PLAIN
        else:
            assert reached <= ALLOWED[own] | PLAIN | {own}
        assert not any(m.split(".")[0] in ("dashboard", "pages") for m in modules)
    elif path.is_relative_to(ROOT / "dashboard"):
        assert not any(m.split(".")[0] == "pages" for m in modules)


@pytest.mark.parametrize("path", source_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    for module in imported_modules(path):
        homes = LIBRARY_HOMES.get(module.split(".")[0])
        assert homes is None or name.startswith(homes), f"{name} imports {module}"


def test_what_answers_at_once_does_not_import_torch() -> None:
    code = f"import {', '.join(TORCH_FREE)}, sys; sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert result.returncode == 0


def test_all_rooms_are_there_once_the_package_is_imported() -> None:
    code = (
        "import sys, asi_core; asi_core.methods.ASI(ranks=4); asi_core.datasets.DATASETS; "
        "assert not {'compress_', 'methods', 'zoo'} - set(dir(asi_core)); "
        "assert 'torch' not in sys.modules; asi_core.layers.surgery; asi_core.compress_; "
        "[getattr(asi_core, name) for name in asi_core.__all__]"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert result.returncode == 0


def test_pages_are_short() -> None:
    for path in (ROOT / "pages").glob("*.py"):
        assert len(path.read_text().splitlines()) < 100, path


def test_importing_an_entry_point_has_no_effect() -> None:
    """A spawned worker imports the script that is run for a visitor once more."""
    for path in [ROOT / "dashboard" / "main.py", *(ROOT / "pages").glob("*.py")]:
        last = ast.parse(path.read_text()).body[-1]
        assert ast.unparse(last).startswith("if __name__ == '__main__':"), path
        for node in ast.parse(path.read_text()).body[:-1]:
            allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign)
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            assert docstring or isinstance(node, allowed), f"{path}:{node.lineno}"
