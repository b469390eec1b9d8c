"""Files of runs with valid types and impossible values are refused, or harmless.

The same values are also written to the database, as an older version or a manual change may have
done: pages name such runs and do not fail.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from sqlalchemy import create_engine, insert, update
from streamlit.testing.v1 import AppTest

from asi_core.errors import InvalidInput
from asi_core.runs.exchange.archive import read_archive
from asi_core.runs.exchange.examples import SHIPPED_FOLDER, import_examples
from asi_core.runs.exchange.transfer import export_comparison, import_comparison
from asi_core.runs.store.library import RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.store.tables import comparison_notes, events, runs
from asi_core.settings import read_settings
from dashboard.feed import Feeds

# `make faults` draws all mutations; otherwise every n-th.
EVERY = int(os.environ.get("FUZZ_DRAW_EVERY", "12"))
PAGES = Path(__file__).parents[3] / "pages"
HEAD, VANILLA, ASI = 0, 1, 2

Content = dict[str, Any]
Columns = dict[str, Any]
Change = Callable[[Content, Columns], Any]


def run_field(name: str, value: Any, run: int = ASI) -> Change:
    return lambda content, columns: content["runs"][run].update({name: value})


def spec_field(name: str, value: Any, run: int = ASI) -> Change:
    return lambda content, columns: content["runs"][run]["spec"].update({name: value})


def column(name: str, change: Callable[[Any], Any], run: int = ASI) -> Change:
    def apply(content: Content, columns: Columns) -> None:
        columns[f"{run}/{name}"] = change(columns[f"{run}/{name}"].astype(float))

    return apply


def last(value: float) -> Callable[[Any], Any]:
    return lambda values: np.append(values[:-1], value)


def probe(change: Callable[[dict[str, Any]], Any], which: int = -1, layer: int = 0) -> Change:
    def apply(content: Content, columns: Columns) -> None:
        probes = [row for row in content["runs"][ASI]["rows"] if row["kind"] == "probe"]
        change(probes[which]["layers"][layer])

    return apply


def rows(change: Callable[[list[dict[str, Any]]], Any]) -> Change:
    return lambda content, columns: change(content["runs"][ASI]["rows"])


def layer_field(name: str, value: Any) -> Change:
    return probe(lambda layer: layer.update({name: value}))


def pictures(change: Callable[[dict[str, Any]], Any]) -> Change:
    return probe(lambda layer: change(layer["pictures"]))


def packed(count: int) -> str:
    return base64.b64encode(bytes(count)).decode()


def prepared(change: Callable[[dict[str, Any]], Any]) -> Change:
    return rows(lambda all_rows: change(all_rows[0]))


STEP_NUMBERS = ("loss", "accuracy", "learning_rate", "forward_seconds", "saved_bytes")
CHANGES: dict[str, Change] = {
    # Steps and evaluations.
    **{f"{name} -1": column(f"step/{name}", last(-1)) for name in STEP_NUMBERS},
    **{f"{name} nan": column(f"step/{name}", last(np.nan)) for name in STEP_NUMBERS},
    **{f"{name} inf": column(f"step/{name}", last(np.inf)) for name in STEP_NUMBERS},
    "nothing kept": column("step/activation_bytes", np.zeros_like),
    "nothing kept once": column("step/activation_bytes", last(0)),
    "nothing saved": column("step/saved_bytes", np.zeros_like),
    "nothing multiplied": column("step/forward_macs", np.zeros_like),
    "half a byte": column("step/saved_bytes", last(0.5)),
    "all bytes": column("step/saved_bytes", last(1e300)),
    "endless seconds": column("step/update_seconds", last(1e308)),
    "steps twice": column("step/step", lambda values: np.append(values[:-1], values[-2])),
    "steps back": column("step/step", lambda values: values[::-1]),
    "step 0": column("step/step", lambda values: values - 1),
    "step beyond": column("step/step", last(10**6)),
    "half a step": column("step/step", lambda values: np.append(values[:-2], [149.5, 150])),
    "one row less": column("step/loss", lambda values: values[:-1]),
    "accuracy 2": column("evaluation/accuracy", last(2)),
    "accuracy -0.1": column("evaluation/accuracy", last(-0.1)),
    "evaluation loss -1": column("evaluation/loss", last(-1)),
    "evaluated beyond": column("evaluation/step", last(151)),
    "evaluated backwards": column("evaluation/step", lambda values: values[::-1]),
    # The record.
    "from 1969": run_field("created_at", -1.0),
    "from 2200": run_field("finished_at", 7e9),
    "ended before it began": run_field("finished_at", 1.0),
    "attempt -1": run_field("attempt", -1),
    "other state": run_field("status", "running"),
    "long error": run_field("error", "x" * 10_001),
    "many lines": run_field("log", [{"at": 1.0, "level": "info", "text": "x"}] * 201),
    "line of 1969": run_field("log", [{"at": -1.0, "level": "info", "text": "x"}]),
    # The specification.
    "other model": spec_field("model", "resnet18"),
    "no model": spec_field("model", "<b>"),
    "no images": spec_field("dataset", "[x](https://x)"),
    "more layers": spec_field("layers", 50),
    "fewer layers": spec_field("layers", 1),
    "head with layers": spec_field("layers", 0),
    "other size": spec_field("image_size", 64),
    "smaller batch": spec_field("batch_size", 8),
    "more steps": spec_field("steps", 200),
    "fewer steps": spec_field("steps", 100),
    "endless seed": spec_field("seed", 10**30),
    "endless budget": spec_field("method", {"kind": "asi", "budget_bytes": 10**400}),
    "method without ranks": spec_field("method", {"kind": "vanilla"}),
    # The prepared event.
    "prepared late": prepared(lambda row: row.update(step=3)),
    "prepared twice": rows(lambda all_rows: all_rows.insert(0, all_rows[0])),
    "other layer prepared": prepared(lambda row: row["layers"][0].update(name="blocks.99")),
    "other weight": prepared(lambda row: row["layers"][0].update(weight_shape=[1, 1, 1, 1])),
    "-1 parameters": prepared(lambda row: row.update(trained_parameters=-1)),
    # Probes.
    "unknown layer": layer_field("name", "**blocks**"),
    "layer twice": probe(lambda layer: layer.update(name="head_conv"), layer=0),
    "no layers": rows(lambda all_rows: all_rows[-1].update(layers=[])),
    "one layer less": rows(lambda all_rows: all_rows[-1]["layers"].pop()),
    "probed backwards": rows(lambda all_rows: all_rows.reverse()),
    "probed at -1": rows(lambda all_rows: all_rows[-1].update(step=-1)),
    "probed beyond": rows(lambda all_rows: all_rows[-1].update(step=151)),
    "negative probe": rows(lambda all_rows: all_rows[-1].update(seconds=-1.0)),
    "three modes": layer_field("shape", [64, 8, 4]),
    "no modes": layer_field("shape", []),
    "mode of 0": probe(lambda layer: layer["shape"].__setitem__(2, 0)),
    "other channels": probe(lambda layer: layer["shape"].__setitem__(1, 7)),
    "more images than a batch": probe(lambda layer: layer["shape"].__setitem__(0, 65)),
    "rank 0": layer_field("ranks", [0, 1, 1, 1]),
    "rank beyond": layer_field("ranks", [65, 1, 1, 1]),
    "two ranks": layer_field("ranks", [1, 1]),
    "no spectra": layer_field("singular_values", []),
    "empty spectra": layer_field("singular_values", [[], [], [], []]),
    "long spectra": layer_field("singular_values", [[1.0] * 5000] * 4),
    "rising spectra": layer_field("singular_values", [[1.0, 2.0]] * 4),
    "negative spectra": layer_field("singular_values", [[1.0, -2.0]] * 4),
    "endless spectra": layer_field("singular_values", [[1e300, 1.0]] * 4),
    "energy 2": layer_field("captured_energy", 2.0),
    "energy -1": layer_field("best_energy", -1.0),
    "cosine 3": layer_field("gradient_cosine", 3.0),
    "two angles": layer_field("drift_degrees", [1.0, 2.0]),
    "angle 200": layer_field("drift_degrees", [200.0] * 4),
    # Pictures.
    "no pictures": pictures(lambda shown: shown.update(channels=[])),
    "channel twice": pictures(lambda shown: shown["channels"].__setitem__(1, shown["channels"][0])),
    "channel beyond": pictures(lambda shown: shown["channels"].__setitem__(0, 10**6)),
    "no size": pictures(lambda shown: shown.update(size=[0, 3])),
    "large size": pictures(lambda shown: shown.update(size=[3, 10**9])),
    "few values": pictures(lambda shown: shown["before"].update(data=packed(5))),
    "no values": pictures(lambda shown: shown["before"].update(data="")),
    "no base64": pictures(lambda shown: shown["before"].update(data="*" * 9)),
    "less after": pictures(lambda shown: shown["after"].update(data=packed(5))),
    "low above high": pictures(lambda shown: shown["before"].update(low=9.0, high=1.0)),
    "endless pictures": pictures(lambda shown: shown["before"].update(high=1e300)),
}  # fmt: skip
# Harmless values: names and notes are shown as they are.
HARMLESS: dict[str, Change] = {
    "a link for a name": lambda content, columns: content.update(name="[x](https://x) **y** <b>"),
    "a formula for a name": lambda content, columns: content.update(name="=1+1"),
    "newest of all": lambda content, columns: [r.update(created_at=4e9) for r in content["runs"]],
    "a heading for an error": lambda content, columns: content["runs"][0].update(error="# x\n- y"),
}


@cache
def valid() -> tuple[Content, Columns]:
    """The members of an exported shipped comparison."""
    store = RunStore(read_settings().database_url)
    import_examples(store, SHIPPED_FOLDER)
    content = export_comparison(store, RunLibrary(store.url), "example-methods")
    store.close()
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        content = json.loads(file.read("runs.json"))
        columns = dict(np.load(io.BytesIO(file.read("curves.npz"))))
    kinds = [(run["spec"]["layers"], run["spec"]["method"]["kind"]) for run in content["runs"]]
    assert kinds[: ASI + 1] == [(0, "vanilla"), (4, "vanilla"), (4, "asi")]
    return content, columns


def changed(change: Change | None) -> tuple[Content, Columns]:
    content, columns = valid()
    content, columns = copy.deepcopy(content), dict(columns)
    if change is not None:
        change(content, columns)
    return content, columns


def archive(content: Content, columns: Columns) -> io.BytesIO:
    arrays, result = io.BytesIO(), io.BytesIO()
    np.savez_compressed(arrays, **columns)
    with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("runs.json", json.dumps(content))
        file.writestr("curves.npz", arrays.getvalue())
    return result


def test_the_unchanged_file_is_imported() -> None:
    assert len(CHANGES) >= 60
    assert len(read_archive(archive(*changed(None)))[0].runs) == 5


@pytest.mark.parametrize("name", CHANGES)
def test_an_impossible_value_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_archive(archive(*changed(CHANGES[name])))
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


@pytest.fixture
def home_of_examples(opened_before: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    monkeypatch.setenv("ASI_READ_ONLY", "")
    st.cache_resource.clear()
    yield RunStore(read_settings().database_url)
    st.cache_resource.clear()


# An impossible summary.
IMPOSSIBLE = {"activation_bytes": 0, "test_accuracy": 7.0, "seconds": None}


def forced(store: RunStore, name: str, change: Change, summary: dict[str, Any] | None) -> None:
    """Write the changed file to the database without validation."""
    content, columns = changed(change)
    engine = create_engine(store.url)
    with engine.begin() as connection:
        for position, run in enumerate(content["runs"]):
            run_id = f"{name}-{position}"
            facts = {k: v for k, v in run.items() if k not in ("rows", "log")}
            row = {**facts, "id": run_id, "comparison": name, "position": position}
            row |= {"owner": "local", "token": "1", "cancel_requested": False, "summary": summary}
            connection.execute(insert(runs), [row])
            written = [*run["rows"], *curve_rows(position, columns)]
            found = {(item["kind"], item["step"]): item for item in written}
            connection.execute(
                insert(events),
                [
                    {"run_id": run_id, "kind": kind, "step": step, "payload": item}
                    for (kind, step), item in found.items()
                ],
            )
    engine.dispose()


def curve_rows(position: int, columns: Columns) -> Iterator[dict[str, Any]]:
    for kind in ("step", "evaluation"):
        prefix = f"{position}/{kind}/"
        own = {k.removeprefix(prefix): v for k, v in columns.items() if k.startswith(prefix)}
        for values in zip(*(v.tolist() for v in own.values()), strict=False):
            row = dict(zip(own, values, strict=True))
            if all(np.isfinite(value) for value in row.values()):
                yield {"kind": kind, **row, "step": int(row["step"])}


def drawn(page: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(PAGES / f"{page}.py"), default_timeout=120)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception, [e.stack_trace for e in app.exception]
    assert not [e.value for e in app.error if "could not be drawn" in e.value]
    return app


@pytest.mark.parametrize("summary", [None, IMPOSSIBLE], ids=["no summary", "impossible"])
def test_pages_do_not_fail_whatever_is_in_the_database(
    home_of_examples: RunStore, summary: dict[str, Any] | None
) -> None:
    # An active run would need a worker.
    names = [name for name in CHANGES if name != "other state"][::EVERY]
    for number, name in enumerate(names):
        forced(home_of_examples, f"c{number}", CHANGES[name], summary)
    for number, name in enumerate(names):
        for page in ("train", "spectra"):
            warnings = [w.value for w in drawn(page, comparison=f"c{number}").warning]
            is_named = any("left out" in sentence for sentence in warnings)
            # Without a summary only the events are checked, and some can be drawn.
            assert is_named or summary is None, (name, page, warnings)
    warnings = [w.value for w in drawn("compare").warning]
    assert any("because of invalid values" in sentence for sentence in warnings)
    for page in ("learn", "poster", "plan", "explore"):
        drawn(page)


@pytest.mark.parametrize(
    "name",
    [
        *("nothing kept", "step beyond", "accuracy 2", "unknown layer", "one layer less"),
        *("three modes", "rank beyond", "two ranks", "no spectra", "empty spectra", "energy 2"),
        *("endless spectra", "two angles", "few values", "no base64", "large size"),
    ],
)
def test_events_that_cannot_be_drawn_are_named(home_of_examples: RunStore, name: str) -> None:
    forced(home_of_examples, "forced", CHANGES[name], None)
    feeds = Feeds(home_of_examples)
    problems = [feeds.of(run).problem for run in home_of_examples.comparison("forced")]
    assert [problem is None for problem in problems] == [n != ASI for n in range(len(problems))]


def test_a_shipped_run_that_was_damaged_is_named_on_every_page(home_of_examples: RunStore) -> None:
    engine = create_engine(home_of_examples.url)
    damaged = runs.c.id.in_(
        ["example-methods-2", "example-variance-3", "example-poster-curves-0-3"]
    )
    with engine.begin() as connection:
        connection.execute(update(runs).where(damaged).values(summary={"activation_bytes": -5}))
    for page in ("train", "spectra", "compare", "learn", "poster"):
        query = {"comparison": "example-methods"} if page in ("train", "spectra") else {}
        warnings = [w.value for w in drawn(page, **query).warning]
        assert any("left out" in sentence for sentence in warnings), (page, warnings)
    with engine.begin() as connection:
        connection.execute(update(runs).where(damaged).values(spec={"model": "none", "layers": 3}))
    st.cache_resource.clear()
    for page in ("train", "spectra", "compare", "learn", "poster"):
        query = {"comparison": "example-methods"} if page in ("train", "spectra") else {}
        warnings = [w.value for w in drawn(page, **query).warning]
        assert page == "learn" or any("left out" in sentence for sentence in warnings), (
            page,
            warnings,
        )
    engine.dispose()


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_values_are_shown_as_they_are(home_of_examples: RunStore, name: str) -> None:
    library = RunLibrary(home_of_examples.url)
    kept = import_comparison(
        home_of_examples, library, archive(*changed(HARMLESS[name])), "another user"
    )
    for page in ("train", "spectra"):
        (shown,) = [box for box in drawn(page).selectbox if box.label == "Comparison"]
        assert shown.value != kept[0].comparison, "an import of another user is not shown first"
        drawn(page, comparison=kept[0].comparison)
    mine = drawn("compare")
    assert "5 runs imported by others" in " ".join(c.value for c in mine.caption)
    compared = mine.dataframe[0].value["comparison"]
    assert compared.str.startswith("Example: ").all(), (
        "an import of another user is not compared first"
    )
    drawn("compare", only_owner="another user")
    with create_engine(home_of_examples.url).begin() as connection:
        connection.execute(comparison_notes.delete())
