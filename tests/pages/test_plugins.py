"""Pages with two additional methods, one of them without a closed form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from streamlit.testing.v1 import AppTest

from asi_core.fields import Setting
from asi_core.methods import METHODS, register_method
from asi_core.results.outcomes import outcomes_by_seed
from asi_core.results.verdict import judge
from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from dashboard.compare.controls import View
from dashboard.compare.picture import AXES, left_out_of_picture, pareto_figure
from dashboard.compare.report import build_report
from tests.pages.inline import InlineEngine, inline_engine
from tests.plugins import NonZero, Thinned
from tests.runs.kept import asi, keep, spec

pytestmark = pytest.mark.usefixtures("opened_before", "plugins")
PAGES = Path(__file__).parents[2] / "pages"
NO_FORMULA = "Non-zero input has no closed form: measure it."


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[InlineEngine]:
    yield from inline_engine(monkeypatch)


@pytest.fixture
def runs() -> list[RunRecord]:
    """The linear probe, vanilla, ASI and both methods, on one task."""
    specs = [spec(layers=0), spec(), asi(0.8), spec({"kind": "thinned"}), spec({"kind": "nonzero"})]
    store = RunStore(read_settings().database_url)
    return keep(store, specs, [0.5, 0.87, 0.80, 0.82, 0.87], [0, 10**6, 10**4, 5 * 10**5, None])


def opened(page: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(PAGES / f"{page}.py"), default_timeout=180)
    for key, value in query.items():
        app.query_params[key] = value
    return drawn(drawn(app))


def drawn(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception, [error.stack_trace for error in page.exception]
    return page


def texts(elements: Any) -> str:
    return "\n".join(str(element.value) for element in elements)


def click(page: AppTest, label: str) -> None:
    next(button for button in page.button if button.label == label).click()
    drawn(page)


# Explore ------------------------------------------------------------------------------------------


def test_explore_has_costs_by_formula_and_says_where_there_are_none() -> None:
    page = opened("explore", ranks_from="One rank", formulas="true", numbers="true")
    cards = {metric.label: metric for metric in page.metric}
    assert cards["Thinned batch keeps"].value.endswith("MiB")
    assert "less" in cards["Thinned batch keeps"].delta
    assert cards["Non-zero input keeps"].value == "–"
    assert cards["Non-zero input keeps"].delta == "no closed form: measure it"
    assert NO_FORMULA in texts(page.caption)
    # What training needs comes from a step on shapes, which a method without closed form has too.
    on_devices = page.multiselect(key="device_methods").options
    assert {"Thinned batch", "Non-zero input"} <= set(on_devices)
    methods = page.selectbox(key="formula_method").options
    assert "Thinned batch" in methods
    assert "Non-zero input" not in methods
    (rows,) = (d.value for d in page.dataframe if "kept_bytes" in d.value)
    assert set(rows["method"]) == {m.label for m in METHODS.values()} - {
        *("Non-zero input", "WASI", "Sparse update")
    }


def test_explore_writes_the_equations_of_a_method_of_somebody_else() -> None:
    page = opened("explore", ranks_from="One rank", formulas="true", formula_method="Thinned batch")
    assert r"\frac{B}{n}" in texts(page.latex)


def test_explore_knows_what_is_registered_after_its_first_view() -> None:
    METHODS.remove("nonzero")
    before = opened("explore", ranks_from="One rank")
    assert "Non-zero input" not in texts(before.caption)
    register_method(NonZero)
    assert NO_FORMULA in texts(opened("explore", ranks_from="One rank").caption)


def test_explore_measures_where_there_is_no_formula(engine: InlineEngine) -> None:
    small = {"layers": "2", "batch_size": "8", "image_size": "32"}
    page = opened("explore", ranks_from="One rank", measure="true", **small)
    click(page, "Measure Non-zero input")
    engine.work()
    drawn(page)
    assert "There is no closed form to compare the trained layers' inputs with." in texts(
        page.markdown
    )
    click(page, "Measure Thinned batch")
    engine.work()
    drawn(page)
    assert "match the formula to the byte" in texts(page.markdown)
    (ways,) = (d.value for d in page.dataframe if "plain PyTorch" in d.value)
    by_method = ways.set_index("method")["by formula"]
    assert by_method.isna().to_dict() == {"Non-zero input": True, "Thinned batch": False}


# Train --------------------------------------------------------------------------------------------


def test_train_shows_runs_without_figures_by_formula(runs: list[RunRecord]) -> None:
    page = opened("train", comparison=runs[0].comparison, **{"train-numbers": "true"})
    assert {"Thinned batch", "Non-zero input"} <= set(page.multiselect(key="methods").options)
    captions = [c.value for c in page.caption if c.value.startswith(("inputs kept", "**"))]
    (nonzero,) = (message for message in captions if "no closed form" in message)
    assert "saved for backward: 488" in nonzero
    assert "less than vanilla" not in nonzero
    assert len([message for message in captions if "less than vanilla" in message]) == 2
    (rows,) = (d.value for d in page.dataframe if "activation_bytes" in d.value)
    row = rows.set_index("run").loc["Non-zero input"]
    assert row[["activation_bytes", "forward_macs", "overhead_macs", "backward_macs"]].isna().all()
    assert row["saved_bytes"] == 500_000


def test_train_trains_both(engine: InlineEngine) -> None:
    page = opened("train", methods="thinned")
    page.multiselect(key="methods").set_value(["thinned", "nonzero"])
    page.slider(key="layers").set_value(2)
    for key, value in {"steps": 2, "batch_size": 16, "image_size": 32, "every": 4}.items():
        page.number_input(key=key).set_value(value)
    page.selectbox(key="weighting").set_value("sum")
    drawn(page)
    click(page, "Train and compare")
    engine.work()
    drawn(page)
    assert [metric.label for metric in page.metric] == [
        "Linear probe (head only)",
        "Thinned batch",
        "Non-zero input",
    ]
    assert all(metric.value != "–" for metric in page.metric)


# Spectra ------------------------------------------------------------------------------------------


def test_spectra_says_what_a_method_says_of_itself(runs: list[RunRecord]) -> None:
    page = opened("spectra", comparison=runs[0].comparison)
    assert page.selectbox(key="run").value == "ASI", "a run with ranks is preset"
    page.selectbox(key="run").set_value("Non-zero input")
    drawn(page)
    kept = next(m for m in page.metric if m.label == "Energy kept by Non-zero input")
    assert (kept.value, kept.delta) == ("100\u202f%", "what is not zero")


# Compare ------------------------------------------------------------------------------------------


def test_compare_answers_by_what_is_measured_where_nothing_else_is_near(
    runs: list[RunRecord],
) -> None:
    page = opened("compare")
    message = page.markdown[0].value.replace("\u202f", " ")
    assert "is Non-zero input: it has no closed form; as measured, it saves 488 KiB" in message
    assert "where vanilla saves 1.43 MiB, 3 × less, and reaches 87.0 %" in message
    cards = {metric.label: metric for metric in page.metric}
    for label in ("Activation memory", "Cost per step"):
        assert (cards[label].value, cards[label].delta) == ("–", "no closed form")
    assert cards["Saved for backward"].delta.replace("\u202f", " ") == "3 × less than vanilla"
    table = page.dataframe[0].value.set_index("run")
    missing = table[["activation memory (formula)", "MACs per step (formula)"]].isna().all(axis=1)
    assert missing.to_dict() == {label: label == "Non-zero input" for label in table.index}
    assert "Not in this figure" in texts(page.caption)
    opened("compare", against="Step time")


def test_compare_prefers_what_has_a_formula(runs: list[RunRecord]) -> None:
    """Bytes by formula are not compared with measured ones."""
    message = opened("compare", tolerance="8").markdown[0].value
    assert "is ASI, 80 % variance: it keeps" in message.replace("\u202f", " ")


def test_pictures_have_the_runs_whose_axes_they_have(runs: list[RunRecord]) -> None:
    outcomes = outcomes_by_seed(runs)
    for axis in AXES.values():
        figure = pareto_figure(outcomes, None, axis)
        drawn_there = {key for trace in figure.data for key in trace.customdata or ()}
        if axis.measure == "peak_bytes":
            assert not drawn_there
            assert "was not recorded" in left_out_of_picture(outcomes, axis)
            continue
        is_measured = axis.measure in ("saved_bytes", "step_seconds")
        assert ("Non-zero input" in drawn_there) is is_measured
        assert ("Non-zero input" in left_out_of_picture(outcomes, axis)) is not is_measured
        assert "Thinned batch" in drawn_there


def test_the_report_has_a_row_without_figures(runs: list[RunRecord]) -> None:
    outcomes = outcomes_by_seed(runs)
    verdict = judge(outcomes, 0.01)
    view = View("task", runs, outcomes, 0.01, {runs[0].comparison: "all"})
    report = build_report(view, verdict, outcomes).decode()
    assert report.count("<td>no closed form</td>") == 2
    assert "Not in this figure" in report


# Other pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["plan", "poster", "learn"])
def test_other_pages_are_drawn(page: str, runs: list[RunRecord]) -> None:
    opened(page)


def test_runs_of_a_method_that_is_gone_are_named_and_left_out(runs: list[RunRecord]) -> None:
    METHODS.remove("nonzero")
    try:
        page = opened("train", comparison=runs[0].comparison)
        assert "method must be a known one, got 'nonzero'" in texts(page.warning)
        assert "Thinned batch" in [metric.label for metric in page.metric]
    finally:
        register_method(NonZero)


def test_what_is_registered_can_be_specified() -> None:
    assert RunSpec(method=Thinned(every=3)).method.settings_label == "Thinned batch, spacing 3"


def test_settings_have_boxes_and_axes_on_the_pages() -> None:
    page = opened("explore", ranks_from="One rank", every="4")
    box = page.number_input(key="every")
    assert (box.label, box.value, box.help) == (
        "Thinned batch: spacing",
        4,
        "n: one image of n is kept.",
    )
    assert page.selectbox(key="weighting").options == ["for the batch", "for themselves"]
    keeps = {m.label: m.value for m in page.metric}
    twice = {m.label: m.value for m in opened("explore", ranks_from="One rank").metric}
    assert keeps["Thinned batch keeps"] != twice["Thinned batch keeps"]
    sweep = opened("compare", sweep_methods="Thinned batch", sweep_every="2, 4")
    assert [box.label for box in sweep.text_input if box.key == "sweep_every"] == ["Spacings"]
    assert "**4 runs.**" in texts(sweep.markdown)


def test_any_kind_of_setting_has_a_box(monkeypatch: pytest.MonkeyPatch) -> None:
    """Integer limits and defaults of float settings, and choices without a default."""

    class Varied(Thinned):
        kind: Literal["varied"] = "varied"
        label: ClassVar[str] = "Varied"
        strength: Annotated[float, Setting("Strength", "How strong.", least=0)] = 1
        share: Annotated[float, Setting("Share", "How much.", slider=(0, 1))] = 0.5
        order: Annotated[Literal["up", "down"] | None, Setting("Order", "Which.")] = None

    register_method(Varied)
    try:
        page = opened("explore", ranks_from="One rank", strength="2.5")
    finally:
        METHODS.remove("varied")
    assert page.number_input(key="strength").value == 2.5
    assert page.slider(key="share").value == 0.5
    assert page.selectbox(key="order").value is None
    assert "Varied keeps" in [metric.label for metric in page.metric]
