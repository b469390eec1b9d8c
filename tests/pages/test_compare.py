"""The Compare page without a browser and without a worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from asi_core.results.differences import task_of
from asi_core.results.outcomes import outcomes_by_seed
from asi_core.results.verdict import judge
from asi_core.runs.exchange.examples import SHIPPED_FOLDER, example_names, import_examples
from asi_core.runs.exchange.transfer import export_comparison
from asi_core.runs.records import EXAMPLE_OWNER
from asi_core.runs.store.library import Description, RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from dashboard import services
from dashboard.compare.controls import View, task_label
from dashboard.compare.report import build_report
from dashboard.compare.runs_table import matches
from dashboard.compare.watch import _active, progress, progress_text
from dashboard.plain import plain
from tests.runs.kept import VANILLA, asi, events, fail, keep, keep_usual, spec

PAGE = str(Path(__file__).parents[2] / "pages" / "compare.py")


class IdleEngine:
    """Records submitted runs and does nothing."""

    def __init__(self) -> None:
        self.submitted: list[str] = []

    def submit(self, run_id: str) -> None:
        self.submitted.append(run_id)


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[IdleEngine]:
    """No worker, and no shipped examples unless a test imports them."""
    st.cache_resource.clear()
    idle = IdleEngine()
    monkeypatch.setattr(services, "engine", lambda: idle)
    monkeypatch.setattr(services, "import_examples", lambda store, folder: None)
    yield idle
    st.cache_resource.clear()


@pytest.fixture
def store() -> RunStore:
    return RunStore(read_settings().database_url)


def opened(**query: str | list[str]) -> AppTest:
    page = AppTest.from_file(PAGE, default_timeout=180)
    for key, value in query.items():
        page.query_params[key] = value
    return run(page)


def run(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception, [e.stack_trace for e in page.exception]
    return page


def texts(elements: Any) -> str:
    return "\n".join(str(element.value) for element in elements)


def answer(page: AppTest) -> str:
    return str(page.markdown[0].value)


def shown_table(page: AppTest) -> Any:
    return page.dataframe[0].value


def button(page: AppTest, label: str) -> Any:
    (found,) = [b for b in page.button if b.label == label]
    return found


def press(page: AppTest, label: str) -> AppTest:
    button(page, label).click()
    return run(page)


def test_a_page_without_runs_offers_a_sweep() -> None:
    page = opened()
    assert "No run matches" in texts(page.info)
    assert not button(page, "Start the sweep").disabled
    assert "No measured step yet" in texts(page.markdown)


def test_a_first_visit_shows_the_shipped_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    from asi_core.runs.exchange.examples import import_examples

    monkeypatch.setattr(services, "import_examples", import_examples)
    page = opened()
    assert "The cheapest run within 1 point of vanilla" in answer(page)
    assert len(page.metric) == 5


def test_it_says_how_many_runs_are_not_read(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_usual(store)
    assert "left out" not in texts(opened().info)
    few = RunLibrary.found

    def newest(library: RunLibrary, wanted: Any = None, limit: int = 0) -> Any:
        return few(library, wanted, 4)

    monkeypatch.setattr(RunLibrary, "found", newest)
    monkeypatch.setattr("dashboard.compare.controls.MOST_READ", 4)
    assert "6 of 10 runs are left out: this page reads the newest 4" in texts(opened().info)


def test_names_are_no_markdown_and_no_formulas(store: RunStore) -> None:
    runs = keep_usual(store, seeds=(0,))
    library = RunLibrary(store.url)
    library.describe(runs[0].comparison, Description("=[x](https://x) **y**", ""))
    page = opened()
    warnings = [m.value for m in page.markdown if "and all measurements" in m.value]
    assert len(warnings) == 1
    assert r" \=\[x\](https\://x) \*\*y\*\*, with 5 runs" in warnings[0]
    assert set(shown_table(page)["comparison"]) == {"'=[x](https://x) **y**"}


def test_the_answer_is_computed_from_the_runs(store: RunStore) -> None:
    keep_usual(store, seeds=(0,))
    page = opened()
    message = answer(page).replace("\u202f", " ")
    assert "within 1 point of vanilla (87.0 %) is ASI, 80 % variance" in message
    assert "it keeps 19.5 KiB where vanilla keeps 977 KiB, 50 × less" in message
    metrics = {metric.label: metric for metric in page.metric}
    assert metrics["Test accuracy"].value.replace("\u202f", " ") == "86.5 %"
    assert metrics["Test accuracy"].delta == "−0.5 points, a tie"
    assert metrics["Activation memory"].delta.replace("\u202f", " ") == "50 × less than vanilla"


def test_fewer_points_may_be_lost(store: RunStore) -> None:
    keep_usual(store, seeds=(0,))
    assert "No run comes within 0.1 points" in answer(opened(tolerance="0.1"))
    assert "ASI, 40 % variance" in answer(opened(tolerance="6"))


def test_a_linear_probe_that_would_do_is_reported(store: RunStore) -> None:
    keep(store, [spec(layers=0), spec(), asi(0.8)], [0.87, 0.87, 0.86], [0, 1000, 100])
    assert "but the linear probe reaches 87.0" in answer(opened())


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ([spec()], "no other method has been completed"),
        ([asi(0.8)], "there is no vanilla run of the same task"),
        ([], "No run of this task has been completed yet"),
    ],
)
def test_what_is_missing_is_reported(store: RunStore, specs: list[RunSpec], expected: str) -> None:
    if specs:
        keep(store, specs, [0.8] * len(specs), [100] * len(specs))
    fail(store, store.create([asi(0.5)], "local")[0], "it broke.")
    assert expected in answer(opened())


def test_seeds_are_one_row_with_their_deviation_or_one_row_each(store: RunStore) -> None:
    keep_usual(store, seeds=(0, 1))
    table = shown_table(opened())
    row = table.set_index("run").loc["ASI, 80 % variance"]
    assert len(table) == 5
    assert row["accuracy"] == pytest.approx(0.867)
    assert row["± points"] == pytest.approx(0.4 / 2**0.5)
    assert row["seeds"] == "0, 1"
    each = shown_table(opened(by_seed="false"))
    assert len(each) == 10
    assert set(each["seeds"]) == {"0", "1"}
    assert each["± points"].isna().all()


def test_tasks_are_not_mixed(store: RunStore) -> None:
    keep_usual(store, seeds=(0,))
    keep(store, [spec(steps=30), asi(0.8, steps=30)], [0.5, 0.4], [100, 10])
    page = opened()
    tasks = page.selectbox(key="task").options
    assert len(tasks) == 2
    short = next(task for task in tasks if "30 steps" in task)
    page.selectbox(key="task").set_value(short)
    assert len(shown_table(run(page))) == 2
    assert len(shown_table(opened(task=short))) == 2


def test_a_filter_leaves_what_it_names(store: RunStore) -> None:
    keep_usual(store, seeds=(0,))
    fail(store, store.create([asi(0.5)], "you")[0], "it broke.")
    by_method = shown_table(opened(only_kind=["ASI", "Vanilla"]))
    assert set(by_method["run"].str.split(",").str[0]) == {"ASI", "Vanilla"}
    assert list(shown_table(opened(only_owner="you"))["state"]) == ["failed"]
    assert len(shown_table(opened(only_status="completed"))) == 5
    assert "No run matches" in texts(opened(only_status="completed", only_owner="you").info)


def test_a_link_gives_the_same_view(store: RunStore) -> None:
    keep_usual(store)
    page = opened()
    page.number_input(key="tolerance").set_value(0.1)
    page.toggle(key="by_seed").set_value(False)
    page.multiselect(key="only_kind").set_value(["ASI"])
    page.segmented_control(key="against").set_value("Step time")
    run(page)
    page.multiselect(key="runs").set_value(["ASI, 40 % variance, seed 1"])
    run(page)
    again = opened(
        tolerance="0.1",
        by_seed="false",
        only_kind=["ASI"],
        against="Step time",
        runs=["ASI, 40 % variance, seed 1"],
    )
    assert again.number_input(key="tolerance").value == 0.1
    for key in ("only_kind", "runs"):
        assert again.multiselect(key=key).value == page.multiselect(key=key).value != []
    assert again.segmented_control(key="against").value == "Step time"
    assert texts(again.markdown) == texts(page.markdown)
    assert shown_table(again).equals(shown_table(page))


def test_wrong_values_in_a_link_are_ignored(store: RunStore) -> None:
    keep_usual(store, seeds=(0,))
    query = ("task", "tolerance", "by_seed", "only_kind", "against", "runs", "named")
    page = opened(**dict.fromkeys(query, "nonsense"))
    assert "The cheapest run within 1 point" in answer(page)
    opened(sweep_steps="-5", sweep_model="nonsense", tolerance="-3")


def test_without_a_choice_the_answers_run_and_vanilla_are_in_detail(store: RunStore) -> None:
    keep_usual(store, seeds=(0,))
    differences = opened().dataframe[1].value
    assert list(differences.columns) == ["setting", "Vanilla", "ASI, 80 % variance"]
    assert list(differences["setting"]) == ["method", "explained variance"]


def test_chosen_runs_open_their_settings_and_cuts(store: RunStore) -> None:
    keep_usual(store)
    chosen = ["ASI, 40 % variance", "ASI, 90 % variance"]
    page = opened(runs=chosen)
    differences, cuts = page.dataframe[1].value, page.dataframe[2].value
    assert differences.to_dict("records") == [
        {"setting": "explained variance", chosen[0]: "0.4", chosen[1]: "0.9"}
    ]
    assert list(cuts["run"]) == chosen
    assert list(cuts["ranks"]) == ["4 × 2 × 2 × 2"] * 2
    assert list(cuts["energy kept"].str.replace("\u202f", " ")) == ["75.0 %"] * 2


def test_a_choice_that_is_filtered_away_is_forgotten(store: RunStore) -> None:
    keep_usual(store, seeds=(0,))
    page = opened(runs=["Vanilla", "ASI, 40 % variance"])
    page.multiselect(key="only_kind").set_value(["ASI"])
    assert run(page).multiselect(key="runs").value == ["ASI, 40 % variance"]


def test_a_task_and_a_comparison_that_are_filtered_away_are_left(store: RunStore) -> None:
    keep(store, [spec(steps=30), asi(0.8, steps=30)], [0.5, 0.4], [100, 10], owner="you")
    keep_usual(store, seeds=(0,))
    page = opened()
    long, short = sorted(page.selectbox(key="task").options, key=lambda task: "30 steps" in task)
    page.selectbox(key="task").set_value(short)
    run(page).multiselect(key="only_owner").set_value(["local"])
    page = run(page)
    assert page.selectbox(key="task").value == long
    assert len(shown_table(page)) == 5


def test_a_failed_run_says_why(store: RunStore) -> None:
    keep_usual(store, seeds=(0,))
    fail(store, store.create([asi(0.5)], "local")[0], "lower the *learning rate*.")
    page = opened()
    assert "ASI, 50 % variance, seed 0: lower the *learning rate*." in texts(page.text)


def test_a_comparison_is_named_and_noted(store: RunStore) -> None:
    comparison = keep_usual(store, seeds=(0,))[0].comparison
    page = opened()
    assert button(page, "Save").disabled
    page.text_input(key=f"name-{comparison}").set_value("Lecture 3")
    page.text_area(key=f"note-{comparison}").set_value("for students")
    page = press(run(page), "Save")
    library = RunLibrary(store.url)
    assert library.descriptions() == {comparison: Description("Lecture 3", "for students")}
    assert set(shown_table(page)["comparison"]) == {"Lecture 3"}
    assert page.selectbox(key="named").options == ["Lecture 3"]


def test_a_comparison_is_deleted_after_it_was_confirmed(store: RunStore) -> None:
    gone = keep_usual(store, seeds=(0,))
    page = opened()
    page.button(key="confirm-Delete this comparison").click()
    page = run(page)
    assert store.comparison(gone[0].comparison) == []
    assert "No run matches" in texts(page.info)


def test_chosen_runs_are_deleted(store: RunStore) -> None:
    keep_usual(store)
    page = opened(runs=["ASI, 40 % variance"])
    page.button(key="confirm-Delete the selected runs").click()
    page = run(page)
    assert len(RunLibrary(store.url).runs()) == 8
    assert page.multiselect(key="runs").value == []


def test_what_cannot_be_deleted_is_reported(store: RunStore) -> None:
    keep(store, [spec(), asi(0.8)], [0.9, 0.8], [100, 10], owner=EXAMPLE_OWNER)
    page = opened()
    # The popover cannot be opened, and the library refuses too.
    page.button(key="confirm-Delete this comparison").click()
    assert "shipped with the app cannot be deleted, got 2 of them" in texts(run(page).error)
    assert len(RunLibrary(store.url).runs()) == 2


def test_a_sweep_says_its_cost_and_is_launched(store: RunStore, engine: IdleEngine) -> None:
    keep(store, [spec(layers=0), spec(), asi(0.8)], [0.8, 0.9, 0.9], [0, 100, 10])
    page = opened(sweep_variances="0.5, 0.7", sweep_seeds="0, 1", sweep_steps="20")
    assert "**8 runs.** About" in texts(page.markdown)
    assert "8 like runs measured here" in texts(page.markdown)
    page = press(page, "Start the sweep")
    (sweep,) = [runs for runs in store.latest_comparisons(5) if len(runs) == 8]
    assert sorted(engine.submitted) == sorted(run.id for run in sweep)
    assert [store.run(i).spec.layers for i in store.line()[-2:]] == [0, 0]  # type: ignore[union-attr]
    assert button(page, "Cancel all")
    press(page, "Cancel all")
    assert {run.status for run in store.comparison(sweep[0].comparison)} == {"cancelled"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"sweep_variances": "1.5"}, "above 0 and at most 1, got 1.5"),
        ({"sweep_variances": "many"}, "explained variances must be numbers"),
        ({"sweep_variances": ""}, "needs explained variances or ranks"),
        ({"sweep_ranks": "4x"}, "one per mode with x between them"),
        ({"sweep_layers": "99"}, "trained layers must be at most 49"),
        ({"sweep_seeds": ", ".join(map(str, range(10)))}, "1 to 40 runs, got 60"),
        ({"sweep_steps": "0"}, "steps must be at least 1"),
        ({"sweep_seeds": "-1"}, "seed must be at least 0"),
    ],
)
def test_what_cannot_be_swept_is_reported(query: dict[str, str], expected: str) -> None:
    page = opened(**query)
    assert expected in texts(page.error)
    assert "Start the sweep" not in [b.label for b in page.button]


def test_ranks_are_read_for_all_modes_and_one_a_mode() -> None:
    page = opened(sweep_variances="", sweep_ranks="2, 16x32x4x4")
    assert "**4 runs.**" in texts(page.markdown)


def test_progress_counts_steps_and_states(store: RunStore) -> None:
    going, _, stopped = store.create([spec(), spec(seed=1), spec(seed=2)], "local")
    store.attempts.claim(going.id)
    store.request_cancel(stopped.id)
    runs = store.comparison(going.comparison)
    done = {going.id: 10}
    assert progress(runs, done) == pytest.approx(1 - 30 / 60)
    started = runs[0].started_at
    assert started is not None
    message = progress_text(runs, done, started + 100).replace("\u202f", " ")
    assert "3 runs: 1 running, 1 queued, 1 cancelled; about 1 min 40 s left" in message
    store.request_cancel(going.id)
    assert "1 stopping" in progress_text(store.comparison(going.comparison), done, time.time())


def test_a_run_that_is_going_is_shown_with_what_it_has(store: RunStore) -> None:
    (going,) = store.create([spec()], "local")
    token = store.attempts.claim(going.id)
    assert token is not None
    store.append(going.id, token, events(going.spec, 0.8, 100)[:8])
    page = opened()
    assert button(page, "Cancel all")
    assert list(shown_table(page)["state"]) == ["running"]


def test_whatever_ends_between_two_looks_is_noticed(store: RunStore) -> None:
    runs = store.create([spec(), spec(seed=1)], "local")
    drawn = _active()
    assert drawn == {runs[0].comparison: 2}
    store.request_cancel(runs[0].id)
    assert _active() != drawn
    store.request_cancel(runs[1].id)
    assert _active() != drawn


def test_a_filter_may_reach_further_back_than_the_newest_runs(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, [spec(seed=5)], [0.5], [10])
    keep(store, [asi(0.5), asi(0.6)], [0.6, 0.7], [20, 30])
    newest = RunLibrary.runs
    monkeypatch.setattr(RunLibrary, "runs", lambda self, wanted=None: newest(self, wanted, 2))
    page = opened(only_kind=["Vanilla"])
    assert list(shown_table(page)["run"]) == ["Vanilla"]
    assert all(shown_table(page)["comparison"])


def test_the_report_has_all_of_the_selection(store: RunStore) -> None:
    runs = keep_usual(store)
    outcomes = outcomes_by_seed(runs)
    library = RunLibrary(store.url)
    library.describe(runs[0].comparison, Description("Lecture <3>", "note & more"))
    view = View("The task", runs, outcomes, 0.01, {runs[0].comparison: "Lecture <3>"})
    verdict = judge(outcomes, 0.01)
    report = build_report(view, verdict, outcomes[1:3]).decode()
    for expected in (
        "Lecture &lt;3&gt;: note &amp; more",
        "The cheapest run within 1 point of vanilla",
        "python -m asi_core train",
        "--explained-variance 0.4",
        "&quot;explained_variance&quot;: 0.4",
        "cosine between the weight gradient",
        "standard deviation",
        "threads",
        "torch",
        "measured",
        "formula",
    ):
        assert expected in report
    assert report.count('class="plotly-graph-div"') == 10, "four on two axes, and two others"
    assert VANILLA["kind"] in report


def test_runs_are_taken_along_and_opened(store: RunStore) -> None:
    runs = keep_usual(store)
    page = opened()
    content = export_comparison(store, RunLibrary(store.url), runs[0].comparison)
    uploader = page.get("file_uploader")[0]
    uploader.upload("asi-runs.zip", content, "application/zip").run()
    assert f"{len(runs)} runs imported from asi-runs.zip" in texts(page.success)
    assert len(store.latest_comparisons(9)) == 2
    page.get("file_uploader")[0].upload("photos.zip", b"no zip", "application/zip").run()
    assert "must be a file exported by this app" in texts(page.error)
    assert len(store.latest_comparisons(9)) == 2


def test_the_search_finds_rows_by_all_of_its_words() -> None:
    row = pd.Series({"run": "ASI, rank 4", "accuracy": 0.5, "state": "completed"})
    assert matches(row, "RANK 4 completed")
    assert matches(row, "")
    assert not matches(row, "rank failed")


def test_a_first_visit_opens_on_the_largest_shipped_study(
    store: RunStore,
) -> None:
    """Three seeds of MCUNet on CIFAR-10; the runs that Train's first comparison shares with the
    study count once."""
    import_examples(store, SHIPPED_FOLDER)
    page = opened()
    assert str(page.selectbox(key="task").value).startswith("MCUNet-in1 · Images in cifar10_small")
    answer = next(m.value for m in page.markdown if m.value.startswith("##### "))
    assert "a tie with vanilla" in answer
    assert "95\u202f% interval" in answer
    assert page.session_state["axis"] == "linear"
    rows = opened(by_seed="false").dataframe[0].value
    assert not rows["run"].duplicated().any()
    shipped = [r for n in example_names(SHIPPED_FOLDER) for r in store.comparison(n)]
    task = page.selectbox(key="task").value
    of_task = {(r.spec, r.finished_at) for r in shipped if task_label(task_of(r.spec)) == task}
    assert len(rows) == len(of_task)
    own = keep_usual(store)
    assert own
    assert opened().selectbox(key="task").value != task, "one's own runs come first"


def test_the_whole_name_of_the_task_is_shown(store: RunStore) -> None:
    """The box cuts it off, and tasks differ at their ends."""
    import_examples(store, SHIPPED_FOLDER)
    page = opened()
    for task in page.selectbox(key="task").options:
        page.selectbox(key="task").set_value(task).run()
        assert plain(task) in [caption.value for caption in page.sidebar.caption]


def test_one_table_spans_networks_and_images(store: RunStore) -> None:
    import_examples(store, SHIPPED_FOLDER)
    closed = opened()
    assert len(closed.dataframe) == len(opened(across="true").dataframe) - 1
    rows = opened(across="true").dataframe[1].value
    same = rows[(rows["method"] == "ASI, 80 % variance, every step") & (rows["layers"] == "4")]
    assert set(same["network"]) >= {"EfficientNet-Lite0", "MCUNet-in1"}
    assert same["images"].nunique() >= 2
    assert same["accuracy against vanilla"].str.contains("vanilla").all()
    assert same["inputs kept against vanilla"].str.contains("less").all()
    plain = rows[rows["method"] == "Vanilla"]
    assert (plain["inputs kept against vanilla"] == "\u2013").all()
