"""Which packages may import which, checked against the source files."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from asi_core.methods import METHODS
from scripts import make_architecture

ROOT = Path(__file__).parents[1]

# Each package may import the packages named here, itself, and the plain modules.
PLAIN = set(make_architecture.PLAIN)
ALLOWED = {
    "linalg": set(),
    "methods": {"linalg"},
    "layers": {"methods", "linalg"},
    "zoo": {"layers", "methods"},
    "datasets": set(),
    "costs": {"layers", "methods", "linalg", "zoo"},
    "compression": {"layers", "methods", "linalg", "costs", "planning"},
    "planning": {"methods", "costs"},
    "poster": {"methods", "costs"},
    "training": {
        *("compression", "layers", "methods", "linalg", "costs", "zoo", "datasets", "planning"),
    },
    "bench": {"training", "layers", "methods", "costs", "zoo"},
    "testing": {"layers", "methods", "costs"},
    "runs": {"training", "costs", "planning", "methods", "zoo", "datasets"},
    "results": {"runs", "training", "costs", "methods", "zoo", "datasets"},
    "figures": {"methods", "costs"},
    "cli": {
        "bench",
        "results",
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
        *("bench", "compression", "costs", "datasets", "figures", "layers", "linalg", "methods"),
        *("planning", "poster", "results", "runs", "testing", "training", "zoo"),
    },
}
# The subpackages of `runs`, each after those that it may import; modules of `runs` come first.
RUNS = ("validity", "store", "submit", "engine", "exchange")
LIBRARY_HOMES = {
    "streamlit": ("app.py", "pages/", "dashboard/", "asi_core/cli/app.py"),
    "distributed": ("asi_core/runs/engine/", "asi_core/runs/machine.py"),
    "dask": ("asi_core/runs/engine/cluster.py", "asi_core/settings.py"),
    "alembic": ("asi_core/runs/store/schema.py", "asi_core/runs/store/migrations/"),
    "sqlalchemy": ("asi_core/runs/store/", "asi_core/runs/exchange/"),
    "plotly": ("asi_core/figures/",),
    "starlette": ("app.py", "dashboard/visitor.py"),
}
# Where a method's kind may be written as a string, and why; elsewhere it comes from the method.
NAMES_KINDS = {
    "asi_core/methods/": "a method's own file, and the registry",
    "asi_core/bench/": "names of its cases, used in documents",
    "asi_core/poster.py": "names of rows of the printed table",
    "dashboard/poster/cells.py": "names of rows of the printed table",
    "asi_core/runs/store/database.py": "asi is the app's name in PostgreSQL",
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
    "asi_core.figures.step",
    "asi_core.methods",
    "asi_core.planning",
    "asi_core.poster",
    "asi_core.runs.engine.engine",
    "asi_core.runs.exchange.examples",
    "asi_core.runs.submit.forecast",
    "asi_core.runs.store.library",
    "asi_core.runs.submit.service",
    "asi_core.runs.store.run_store",
    "asi_core.training.pictures",
    "asi_core.runs.submit.sweeps",
    "asi_core.results.verdict",
    "asi_core.training.summary",
    "asi_core.zoo.shapes",
    "asi_core.zoo.weights",
    "asi_core.figures.plan",
    "asi_core.figures.poster",
    "asi_core.runs.store.job_store",
    "asi_core.runs.exchange.example_jobs",
    "dashboard.compare.report",
    "dashboard.train.form",
    "dashboard.history",
    "dashboard.train.live",
    "dashboard.spectra.view",
    "pages.explore",
    "pages.step",
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


def package_of(path: Path) -> str:
    return path.relative_to(ROOT / "asi_core").parts[0].removesuffix(".py")


def allowed_packages(path: Path) -> set[str]:
    own = package_of(path)
    return PLAIN if own in PLAIN else ALLOWED[own] | PLAIN | {own}


def allowed_in_runs(path: Path) -> set[str]:
    parts = path.relative_to(ROOT / "asi_core").parts
    own = next((part for part in parts if part in RUNS), RUNS[-1])
    return set(RUNS[: RUNS.index(own) + 1])


def test_imports_go_one_way() -> None:
    for path in source_files():
        modules = [module.split(".") for module in imported_modules(path)]
        roots = {module[0] for module in modules}
        if not path.is_relative_to(ROOT / "asi_core"):
            assert not (path.is_relative_to(ROOT / "dashboard") and "pages" in roots), path
            continue
        ours = [module[1:] for module in modules if module[0] == "asi_core"]
        assert {module[0] for module in ours if module} <= allowed_packages(path), path
        inner = {part for module in ours if module[:1] == ["runs"] for part in module[1:2]} & set(
            RUNS
        )
        assert inner <= allowed_in_runs(path), path
        assert not roots & {"dashboard", "pages", "studies", "benchmarks"}, path


def test_libraries_are_imported_in_their_packages_only() -> None:
    for path in source_files():
        name = str(path.relative_to(ROOT))
        for module in imported_modules(path):
            homes = LIBRARY_HOMES.get(module.split(".")[0])
            assert homes is None or name.startswith(homes), f"{name} imports {module}"


def strings(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def test_kinds_of_methods_are_written_in_their_own_files_only() -> None:
    ours = {kind for kind, method in METHODS.items() if method.__module__.startswith("asi_core.")}
    written = {str(path.relative_to(ROOT)): strings(path) & ours for path in source_files()}
    found = {name: kinds for name, kinds in written.items() if kinds}
    assert len(ours) >= 6
    assert {n: kinds for n, kinds in found.items() if not n.startswith(tuple(NAMES_KINDS))} == {}
    unused = [place for place in NAMES_KINDS if not any(n.startswith(place) for n in found)]
    assert unused == [], "an exception that is no longer needed"


def test_fast_modules_do_not_import_torch() -> None:
    code = f"import {', '.join(TORCH_FREE)}, sys; sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert result.returncode == 0


def test_all_subpackages_are_available_once_the_package_is_imported() -> None:
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
    """A spawned worker imports the page's script again."""
    for path in [ROOT / "dashboard" / "main.py", *(ROOT / "pages").glob("[!_]*.py")]:
        last = ast.parse(path.read_text()).body[-1]
        assert ast.unparse(last).startswith("if __name__ == '__main__':"), path
        for node in ast.parse(path.read_text()).body[:-1]:
            allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign)
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            assert docstring or isinstance(node, allowed), f"{path}:{node.lineno}"


def test_the_picture_of_the_architecture_is_up_to_date() -> None:
    written = make_architecture.TARGET.read_text(encoding="utf-8")
    assert written == make_architecture.document(), "run scripts/make_architecture.py"


def test_implied_edges_are_left_out() -> None:
    graph = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": {"c"}}
    merged = make_architecture.without_circles(graph)
    assert merged == {"a": {"b", "c + d"}, "b": {"c + d"}, "c + d": set()}
    assert make_architecture.without_implied(merged)["a"] == {"b"}
