"""The Markdown table of a check, from its JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

MIB = 2**20
_WAYS = ("vanilla_nchw", "vanilla_nhwc", "asi", "asi_needed", "hosvd", "checkpointing")


def report(found: Mapping[str, Any], level: int = 2) -> str:
    """A document: the machine, what passed, and the figures of each part.

    Args:
        level: of its headings.
    """
    parts: Mapping[str, Any] = found["parts"]
    marks = "#" * level
    text = [_machine(found), f"\n{marks} Result\n\n", _results(parts.values())]
    text += _listed(f"{marks}# Failed", _failures(parts))
    text += _listed(f"{marks}# Left out", _left_out(found))
    for title, names, table in _TABLES:
        rows = [row for name in names for row in parts.get(name, {}).get("rows", ())]
        rows = [row for row in rows if "skipped" not in row]
        if rows:
            text.append(f"\n{marks} {title}\n\n{table(rows)}")
    return "".join(text)


def _machine(found: Mapping[str, Any]) -> str:
    machine = found["environment"]
    accelerator = machine.get("accelerator")
    where = machine.get("processor", "an unknown processor")
    if accelerator:
        where = f"{accelerator['name']} with CUDA {accelerator['cuda']} ({where})"
    return (
        f"Device `{found['device']}`: {where}; PyTorch {machine.get('torch', '?')}, "
        f"{machine.get('date', '?')}. All together {found['seconds']:.0f} s: "
        f"{'passed' if found['passed'] else '**failed**'}. Measured, unless a column says "
        "by formula.\n"
    )


def _results(parts: Iterable[Mapping[str, Any]]) -> str:
    return _table(
        ("part", "result", "seconds"),
        ((part["title"], part["result"], f"{part['seconds']:.0f}") for part in parts),
    )


def _failures(parts: Mapping[str, Any]) -> list[str]:
    failures = []
    for part in parts.values():
        failures += [f"{part['title']}: {part['error']}"] if part["error"] else []
        for row in part["rows"]:
            name = row.get("method") or row.get("model") or row.get("features") or ""
            failures += [f"{part['title']}, {name}: {one}" for one in row.get("failures", ())]
    return failures


def _left_out(found: Mapping[str, Any]) -> list[str]:
    rows = [row for part in found["parts"].values() for row in part["rows"]]
    return [*found["left_out"], *(row["skipped"] for row in rows if "skipped" in row)]


def _listed(heading: str, sentences: Sequence[str]) -> list[str]:
    lines = "".join(f"- {one.rstrip('.')}.\n" for one in sentences)
    return [f"\n{heading}\n\n{lines}"] if sentences else []


def _contract(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line per method: failures of all checks, and the largest error of exact gradients."""
    types = list(dict.fromkeys(row["dtype"] for row in rows))
    heads = ["method", *(f"{name}: failed of checks" for name in types)]
    heads += [f"{name}: gradient error" for name in types]
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = {row["dtype"]: row for row in rows if row["method"] == method}
        found = [own.get(name) for name in types]
        failed = [_cell(row, lambda r: f"{len(r['failures'])} of {r['checks']}") for row in found]
        errors = [_cell(row, lambda r: _small(r["gradient_error"])) for row in found]
        lines.append((method, *failed, *errors))
    tolerances = ", ".join(
        f"{name} {next(r['tolerance'] for r in rows if r['dtype'] == name):.1e}" for name in types
    )
    return _table(heads, lines) + (
        "\nGradient error: the largest of the gradients that a method claims to be exact, against "
        f"PyTorch's own on the device, relative to their norm. Allowed: {tolerances}.\n"
    )


def _resumed(rows: Sequence[Mapping[str, Any]]) -> str:
    return _table(
        ("method", "difference of the losses"),
        ((row["method"], _small(row["difference"])) for row in rows),
    )


def _memory(rows: Sequence[Mapping[str, Any]]) -> str:
    heads = ["network", "method", "kept", "kept, by formula", "peak", "peak, by formula"]
    heads += ["difference", "where it differs most"]
    lines = []
    for row in rows:
        sizes = ("kept_bytes", "formula_kept_bytes", "peak_bytes", "formula_peak_bytes")
        shown = [_cell(row.get(name), lambda n: f"{n / MIB:.3f}") for name in sizes]
        network = f"{row['network']}, batch {row['batch']}" if "batch" in row else row["network"]
        difference = _cell(row.get("difference"), lambda d: f"{100 * d:+.1f} %")
        lines.append((network, row["method"], *shown, difference, row.get("largest", "")))
    return _table(heads, lines) + (
        "\nMiB of one step of the last 4 layers. The device's allocator and the lifetimes of its "
        "storages agree after every operator, or the step is a failure. The formula is of the "
        "processor's operators, whose inner memory differs.\n"
    )


def _kept(rows: Sequence[Mapping[str, Any]]) -> str:
    ways = list(rows[0]["saved_bytes"])
    lines = []
    for row in rows:
        shown = [f"{row['saved_bytes'][way] / MIB:.3f}" for way in ways]
        lines.append((_tail(row), *shown, "yes" if row["lossless"] else "no"))
    return _table(("tail", *(way.replace("_", " ") for way in ways), "lossless"), lines)


def _steps(rows: Sequence[Mapping[str, Any]]) -> str:
    cases = rows[0]["end_to_end"]
    lines = []
    for case in cases:
        times = case["seconds"]
        shown = [_cell(times.get(way), lambda t: f"{1000 * t['median']:.2f}") for way in _WAYS]
        vanilla = min(times[way]["median"] for way in _WAYS[:2])
        lines.append((_tail(case), *shown, f"{vanilla / times['asi']['median']:.2f}"))
    heads = ("tail", *(way.replace("_", " ") for way in _WAYS), "faster vanilla / ASI")
    return _table(heads, lines) + "\nMilliseconds of a step, medians of steps that alternate.\n"


def _comparison(rows: Sequence[Mapping[str, Any]]) -> str:
    runs = list(rows[0]["accuracies"])
    return _table(
        ("features", "seconds", "worker ready", "largest difference", *runs),
        (
            (
                row["features"],
                f"{row['seconds']:.1f}",
                f"{row['ready_seconds']:.1f}",
                _small(row["difference"]),
                *(f"{row['accuracies'][run]:.3f}" for run in runs),
            )
            for row in rows
        ),
    )


_TABLES: tuple[tuple[str, tuple[str, ...], Callable[..., str]], ...] = (
    ("Contract of methods", ("float32", "bfloat16", "float16"), _contract),
    ("Runs resumed from a checkpoint", ("resume",), _resumed),
    ("Memory of a step", ("memory",), _memory),
    ("Bytes kept for backward, MiB", ("kept",), _kept),
    ("Time of a step", ("steps",), _steps),
    ("The default comparison", ("comparison",), _comparison),
)


def _tail(case: Mapping[str, Any]) -> str:
    return f"{case['model']}, k = {case['layers']}, batch {case['batch_size']}"


def _cell(value: Any, shown: Callable[[Any], str]) -> str:
    return "-" if value is None else shown(value)


def _small(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}" if value else "0"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
