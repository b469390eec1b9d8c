"""The Spectra page without a browser: with shipped runs, own runs, and no runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from asi_core.runs.exchange import examples
from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.training.events import EvaluationEvent, LayerProbe, ProbeEvent
from asi_core.training.slices import input_pictures
from asi_core.training.spec import RunSpec
from dashboard import history
from dashboard.history import run_labels

PAGE = str(Path(__file__).parents[2] / "pages" / "spectra.py")
ASI: dict[str, Any] = {"kind": "asi", "ranks": 4}
VANILLA: dict[str, Any] = {"kind": "vanilla"}
SMALL: dict[str, Any] = {"steps": 2, "batch_size": 8, "image_size": 32, "layers": 2}


@pytest.fixture(autouse=True)
def fresh(opened_before: None) -> Iterator[None]:
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture
def no_examples(empty_store: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store without shipped runs."""
    for module in (examples, history):
        monkeypatch.setattr(module, "SHIPPED_FOLDER", tmp_path / "none")
    monkeypatch.setattr("dashboard.services.SHIPPED_FOLDER", tmp_path / "none")


def opened(**query: str) -> AppTest:
    page = AppTest.from_file(PAGE, default_timeout=180)
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page


def texts(elements: Any) -> str:
    return "\n".join(element.value for element in elements)


def store() -> RunStore:
    return RunStore(read_settings().database_url)


def queued(*methods: dict[str, Any], **changes: Any) -> list[RunRecord]:
    specs = [RunSpec.model_validate({"method": m, **SMALL, **changes}) for m in methods]
    return store().create(specs, "local")


def ended(run: RunRecord, happened: list[Any], status: Any, error: str | None = None) -> None:
    kept = store()
    token = kept.attempts.claim(run.id)
    assert token
    kept.append(run.id, token, happened)
    kept.finish(run.id, token, status, None, error)


def probe(step: int = 1, **changes: Any) -> ProbeEvent:
    values = {"singular_values": ((2.0, 1.0),) * 4, "shape": (2, 2, 2, 2), "name": "conv"}
    return ProbeEvent(step=step, seconds=0.5, layers=(LayerProbe(**{**values, **changes}),))


def test_a_first_visitor_sees_a_shipped_run() -> None:
    page = opened()
    assert page.selectbox(key="spectra_comparison").value == "example-methods"
    assert page.selectbox(key="run").value == "ASI"
    message = texts(page.markdown)
    assert "of 576 channel directions hold 80\u202f% of the energy" in message
    assert "HOSVD at the same ranks would keep" in message
    cost = next(metric for metric in page.metric if metric.label == "Probing overhead")
    assert cost.value.endswith("%")
    captions = texts(page.caption)
    assert "their reconstruction from" in captions
    assert "every batch has other images" in captions


def test_one_s_own_comparison_comes_before_the_shipped_ones() -> None:
    runs = queued(VANILLA, ASI)
    kept = {"captured_energy": 0.5, "best_energy": 0.6, "ranks": (1, 1, 1, 2)}
    probes = [probe(**kept, drift_degrees=(1.0, 2.0, 3.0, None), step=step) for step in (1, 2)]
    ended(runs[0], [probe()], "completed")
    ended(runs[1], probes, "completed")
    page = opened()
    assert page.selectbox(key="spectra_comparison").value == runs[0].comparison
    assert page.query_params["comparison"] == runs[0].comparison
    assert page.selectbox(key="run").options == ["Vanilla", "ASI"]
    assert page.select_slider(key="step").options == ["1", "2"]
    assert "with all modes truncated, ASI keeps" in texts(page.markdown)


def test_a_link_brings_the_same_view() -> None:
    page = opened()
    page.selectbox(key="spectra_comparison").set_value("example-variance").run()
    page.selectbox(key="run").set_value(page.selectbox(key="run").options[3]).run()
    page.selectbox(key="layer").set_value(page.selectbox(key="layer").options[0]).run()
    page.select_slider(key="step").set_value(1).run()
    page.button_group(key="show").set_value("Singular values").run()
    page.button_group(key="axes").set_value("Linear").run()
    page.button_group(key="mode").set_value("width").run()
    page.slider(key="share").set_value(95).run()
    assert not page.exception
    # A browser would write this into the address.
    boxes = {key: page.selectbox(key=key).value for key in ("run", "layer")}
    view = {"show": "Singular values", "axes": "Linear", "mode": "Width", "share": "95"}
    again = opened(comparison="example-variance", step="1", **boxes, **view)
    for key, value in view.items():
        drawn = again.slider if key == "share" else again.button_group
        assert str(drawn(key=key).value).lower() == value.lower()
    assert texts(again.markdown) == texts(page.markdown)
    assert texts(again.caption) == texts(page.caption)
    assert "hold 95\u202f% of the energy" in texts(again.markdown)
    assert "at step 1" in texts(again.markdown)


@pytest.mark.parametrize(
    "query",
    [
        {"run": "nobody"},
        {"layer": "none"},
        {"step": "7"},
        {"step": "x"},
        {"share": "400"},
        {"show": "all"},
        {"axes": "<b>"},
        {"mode": "time"},
    ],
)
def test_wrong_values_in_a_link_are_ignored(query: dict[str, str]) -> None:
    assert "channel directions hold" in texts(opened(**query).markdown)


def test_a_link_names_a_choice_by_what_its_box_shows() -> None:
    """The options of a box whose values are numbers, such as Reproduce's."""
    page = opened(**{"spectra-commands": "true", "spectra-reproduce": "HOSVD"})
    assert page.selectbox(key="spectra-reproduce").value == 2
    assert not page.warning
    page = opened(**{"spectra-commands": "true", "spectra-reproduce": "nothing of the kind"})
    assert page.selectbox(key="spectra-reproduce").value == 0
    assert "nothing of the kind" in texts(page.warning)


def test_an_unknown_comparison_in_a_link_is_reported() -> None:
    page = opened(comparison="lost")
    assert "'lost', which has no runs with trained layers here" in texts(page.warning)
    assert "channel directions hold" in texts(page.markdown)


@pytest.mark.parametrize(
    ("method", "expected"),
    [("Vanilla", "Vanilla keeps the input as it is"), ("Gradient filter", "no picture can be")],
)
def test_methods_that_rebuild_nothing_say_why(method: str, expected: str) -> None:
    page = opened(run=method)
    assert page.selectbox(key="run").value == method
    assert expected in texts(page.caption)
    assert "does not reuse subspaces" in texts(page.caption)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("checkpointing", "100\u202f%", "recomputed exactly"),
        ("eight_bit", "–", "every element, rounded"),
        ("gradient_filter", "–", "sums over windows"),
    ],
)
def test_what_methods_without_subspaces_keep_is_reported(
    kind: str, value: str, expected: str
) -> None:
    (run,) = queued({"kind": kind})
    ended(run, [probe()], "completed")
    (kept,) = [m for m in opened().metric if m.label.startswith("Energy kept by")]
    assert kept.value == value
    assert expected in (kept.delta or "") + texts(opened().markdown) + texts(opened().caption)


def test_others_come_after_one_s_own() -> None:
    runs = queued(VANILLA)
    ended(runs[0], [probe()], "completed")
    what = [RunSpec.model_validate({"method": VANILLA, **SMALL})]
    theirs = store().create(what, "visitor-0123456789abcdef0123456789abcdef")
    ended(theirs[0], [probe()], "completed")
    box = opened().selectbox(key="spectra_comparison")
    assert box.value == runs[0].comparison
    assert " · by visitor-0123456789" in box.options[1]


def test_at_the_first_step_all_methods_are_shown_on_the_same_input() -> None:
    assert "their reconstruction from" in texts(opened(run="Vanilla", step="1").caption)


def test_playing_goes_from_step_to_step_and_begins_again() -> None:
    page = opened(comparison="example-variance", step="150")
    page.toggle(key="play").set_value(True).run()
    assert "seed" not in texts(page.markdown), "only runs of one seed are shown together"
    seen = [page.select_slider(key="step").value]
    for _ in range(2):
        page.run()
        seen.append(page.select_slider(key="step").value)
    assert not page.exception
    assert len(set(seen)) == 3


@pytest.mark.usefixtures("no_examples")
def test_nothing_to_look_at_is_reported() -> None:
    assert "Nothing has been trained here yet" in texts(opened().info)
    queued(VANILLA, layers=0)
    assert "Nothing has been trained here yet" in texts(opened().info)


@pytest.mark.usefixtures("no_examples")
def test_a_run_without_looks_says_why() -> None:
    (waiting,) = queued(ASI)
    assert "comes with this run's first step" in texts(opened().info)
    ended(waiting, [], "failed", "the weights are gone.")
    assert "failed before its first probe: the weights are gone." in texts(opened().error)
    (cancelled,) = queued(ASI)
    store().request_cancel(cancelled.id)
    assert "ended before its first probe" in texts(opened().info)


@pytest.mark.usefixtures("no_examples")
def test_probes_of_before_pictures_and_summaries_are_shown_without() -> None:
    (run,) = queued(ASI)
    ended(run, [probe(), EvaluationEvent(step=1, accuracy=1, loss=0)], "completed")
    page = opened()
    assert "probed before pictures were stored" in texts(page.info)
    cost = next(metric for metric in page.metric if metric.label == "Probing overhead")
    assert cost.value == "–"


@pytest.mark.usefixtures("no_examples")
def test_modes_of_a_transformer_have_their_own_names() -> None:
    import torch

    (run,) = queued(ASI, model="vit_b_32", image_size=224, pretrained=False)
    x = torch.randn(2, 17, 8)
    values = ((2.0, 1.0), tuple(range(16, 0, -1)), (3.0, *[1.0] * 7))
    taken = probe(shape=(2, 17, 8), singular_values=values, pictures=input_pictures(x, 2, None))
    ended(run, [taken], "completed")
    page = opened()
    assert "of 8 feature directions hold" in texts(page.markdown)
    assert "Tokens: " in texts(page.caption)
    assert page.button_group(key="mode").options[1] == "Tokens"


def test_runs_have_the_shortest_names_that_tell_them_apart() -> None:
    def named(*specs: tuple[dict[str, Any], int]) -> list[str]:
        found = [RunSpec.model_validate({"method": m, **SMALL, "seed": s}) for m, s in specs]
        return run_labels(store().create(found, "local"))

    other = {"kind": "asi", "ranks": 8}
    assert named((VANILLA, 0), (ASI, 0)) == ["Vanilla", "ASI"]
    assert named((other, 0), (ASI, 0)) == ["ASI, rank 8", "ASI, rank 4"]
    assert named((ASI, 0), (ASI, 1)) == ["ASI, rank 4, seed 0", "ASI, rank 4, seed 1"]
    assert len(set(named((ASI, 0), (ASI, 0)))) == 2
