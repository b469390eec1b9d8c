"""Write docs/architecture.md: which package imports which, as a Mermaid diagram.

    python scripts/make_architecture.py

Everything is read from the imports; `tests/test_docs.py` fails if the document is out of date.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "architecture.md"
PLACES = ("asi_core", "dashboard", "pages")
# Modules that all packages use: one node.
PLAIN = ("counting", "errors", "fields", "lazy", "records", "registry", "settings", "units")

Graph = dict[str, set[str]]

HEADER = """# Architecture

Arrows lead from a package to what it imports. Implied arrows are left out: `pages` may import what
`dashboard` imports. The purpose of each package is in [Developing](developing.md);
`tests/test_architecture.py` fails on an import in the other direction.

```mermaid
{diagram}
```

Written by `python scripts/make_architecture.py`, from the imports.
"""


def main() -> None:
    TARGET.write_text(document(), encoding="utf-8")


def document() -> str:
    """The content of docs/architecture.md."""
    graph = without_implied(without_circles(rooms(imports_of_modules())))
    return HEADER.format(diagram="\n".join(drawn(graph)))


def imports_of_modules() -> Graph:
    """Each of our modules -> those of our modules that it imports, at its top or later."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for place in PLACES
        for path in sorted((ROOT / place).rglob("*.py"))
    }
    return {
        name: {found for target in imported(path) if (found := module_of(target, files))} - {name}
        for name, path in files.items()
    }


def imported(path: Path) -> Iterable[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(target: str, known: Mapping[str, object]) -> str | None:
    """The module that an import leads to: the imported name may be defined in it."""
    while target and target not in known:
        target = target.rpartition(".")[0]
    return target or None


def rooms(modules: Graph) -> Graph:
    """The same graph between packages."""
    graph: Graph = {}
    for name, targets in modules.items():
        if own := room(name):
            found = {other for target in targets if (other := room(target))}
            graph.setdefault(own, set()).update(found - {own})
    return graph


def room(module: str) -> str | None:
    """The node of a module; None for a package of nodes, which only re-exports."""
    place, *parts = module.split(".")
    if place != "asi_core":
        return place
    if parts in ([], ["__main__"], ["runs"]):
        return None
    if parts[0] in PLAIN:
        return "plain"
    # A package within `runs`, or a file in it.
    return ".".join(parts[: 2 if parts[0] == "runs" else 1])


def without_circles(graph: Graph) -> Graph:
    """Merge packages that import each other into one."""
    reached = {name: reachable(name, graph) for name in graph}
    node = {
        name: " + ".join(sorted({name, *(o for o in reached[name] if name in reached[o])}))
        for name in graph
    }
    merged: Graph = {}
    for name, targets in graph.items():
        found = {node[target] for target in targets} - {node[name]}
        merged.setdefault(node[name], set()).update(found)
    return merged


def without_implied(graph: Graph) -> Graph:
    """Remove edges that other edges imply (the transitive reduction)."""
    reached = {name: reachable(name, graph) for name in graph}
    return {
        name: {target for target in targets if not any(target in reached[o] for o in targets)}
        for name, targets in graph.items()
    }


def reachable(name: str, graph: Graph) -> set[str]:
    """All packages reachable from one; includes itself if there is a cycle."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def drawn(graph: Graph) -> Iterable[str]:
    """Lines of Mermaid, with the packages of `runs` in a separate box."""
    keys = {name: re.sub(r"\W+", "_", name) for name in graph}
    yield "flowchart TD"
    yield "    subgraph runs"
    for name in sorted(name for name in graph if name.startswith("runs.")):
        yield f'        {keys[name]}["{name.replace("runs.", "")}"]'
    yield "    end"
    yield f'    plain["{", ".join(PLAIN)}"]'
    for name, targets in graph.items():
        yield from (f"    {keys[name]} --> {keys[target]}" for target in sorted(targets))


if __name__ == "__main__":
    main()
