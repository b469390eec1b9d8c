"""The Train page without a browser; the worker is replaced by running in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from asi_core.runs.records import EXAMPLE_OWNER, RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.training.spec import RUN_DEFAULTS
from asi_core.training.summary import summarise
from asi_core.units import layer_count, three_digits
from asi_core.zoo.cards import MODELS
from dashboard import services
from tests.datasets.pictures import both_splits, zip_bytes
from tests.pages.inline import InlineEngine, inline_engine
from tests.runs.kept import asi, events, keep, spec, step_timeline

pytestmark = pytest.mark.usefixtures("opened_before")
PAGE = str(Path(__file__).parents[2] / "pages" / "train.py")
BUTTON = "Train and compare"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[InlineEngine]:
    yield from inline_engine(monkeypatch)


def opened(**query: str) -> AppTest:
    page = AppTest.from_file(PAGE, default_timeout=180)
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page


def set_small(page: AppTest) -> AppTest:
    page.slider(key="layers").set_value(2)
    for key, value in {"steps": 2, "batch_size": 16, "image_size": 32}.items():
        page.number_input(key=key).set_value(value)
    page.run()
    assert not page.exception
    return page


def launch_button(page: AppTest) -> Any:
    return next(button for button in page.button if button.label == BUTTON)


def picker(page: AppTest) -> Any:
    return next(box for box in page.selectbox if box.label == "Comparison")


def texts(elements: Any) -> str:
    return "\n".join(element.value for element in elements)


def own_comparisons() -> list[list[RunRecord]]:
    store = RunStore(read_settings().database_url)
    return [c for c in store.latest_comparisons(9) if c[0].owner != EXAMPLE_OWNER]


def test_a_first_visitor_sees_real_runs_and_one_button(engine: InlineEngine) -> None:
    page = opened()
    assert not launch_button(page).disabled
    assert picker(page).value == "example-cifar10"
    assert [metric.label for metric in page.metric] == [
        "Vanilla",
        "ASI, 80 % variance, every step",
        "ASI, budget 349\u202fKiB, every step, 8 bits",
        "HOSVD, 80 % variance",
        "Gradient filter, patch 2",
        "Linear probe (head only)",
    ]
    assert "ASI keeps 50 to 65.3" in texts(page.markdown)


def test_each_run_is_measured_against_vanilla_at_its_own_depth(engine: InlineEngine) -> None:
    """The shipped curves have six depths, and lack the numbers of some steps."""
    page = opened(comparison="example-poster-curves-0")
    rows = page.dataframe[0].value.set_index("run")["against vanilla"]
    runs = RunStore(read_settings().database_url).comparison("example-poster-curves-0")
    kept = {
        (run.spec.method.kind, run.spec.layers): run.summary["activation_bytes"]
        for run in runs
        if run.spec.layers != 0
    }
    for layers in (12, 1):
        ratio = kept["vanilla", layers] / kept["gradient_filter", layers]
        name = f"Gradient filter, patch 2, {layer_count(layers)}"
        assert rows[name] == f"{three_digits(ratio)}\u202f× less"
        assert "less" not in rows[f"Vanilla, {layer_count(layers)}"]
    assert "less than vanilla with the same settings" in texts(page.markdown)
    assert set(page.dataframe[0].value["state"]) == {"completed"}


def test_small_images_are_one_click_from_the_first_visit(engine: InlineEngine) -> None:
    page = opened()
    next(b for b in page.button if b.label == "Smaller images (40 px)").click()
    page.run()
    assert not page.exception
    assert not page.warning
    assert page.number_input(key="image_size").value == 40
    assert page.number_input(key="steps").value == 200
    assert "Smaller images (40 px)" not in [b.label for b in page.button]


def test_a_model_brings_its_own_image_size_and_ranks(engine: InlineEngine) -> None:
    page = opened(ranks_from="Ranks per mode", rank_batch="8")
    assert page.number_input(key="rank_batch").value == 8
    page.selectbox(key="model").set_value("vit_b_32").run()
    assert not page.exception
    assert not page.error
    assert [box.value for box in page.number_input if box.label == "Image size, pixels"] == [224]
    assert not launch_button(page).disabled
    page.selectbox(key="model").set_value("resnet18").run()
    assert page.number_input(key="image_size").value == RUN_DEFAULTS["image_size"]
    assert not page.error


@pytest.mark.usefixtures("empty_store")
def test_without_examples_a_first_visitor_is_reported_what_to_do(
    engine: InlineEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = RunStore(read_settings().database_url)
    monkeypatch.setattr(services, "store", lambda: empty)
    assert "The button above starts a comparison" in texts(opened().info)


def test_runs_of_one_method_have_names_of_their_own(engine: InlineEngine) -> None:
    page = opened(comparison="example-ranks")
    labels = [metric.label for metric in page.metric]
    assert len(set(labels)) == len(labels) == 5
    loss = next(c for c in page.get("bidi_component") if "Training loss" in c.proto.json)
    traces = json.loads(loss.proto.json)["traces"]
    assert [trace["name"] for trace in traces] == labels
    assert len({json.dumps([t["line"], t["marker"]]) for t in traces}) == len(labels)


def test_a_link_to_a_comparison_that_is_not_here_is_reported(engine: InlineEngine) -> None:
    assert "'nowhere', which is not here" in texts(opened(comparison="nowhere").warning)


def test_what_tokens_lack_is_left_out_and_comes_back(engine: InlineEngine) -> None:
    page = opened(model="vit_b_32")
    assert "Gradient filter is left out" in texts(page.caption)
    assert "by 3 methods" in texts(page.caption)
    page.selectbox(key="model").set_value("resnet18")
    page.run()
    assert "by 4 methods" in texts(page.caption)
    page.selectbox(key="model").set_value("vit_b_32")
    page.multiselect(key="methods").set_value(["gradient_filter"])
    page.run()
    assert "choose another method" in texts(page.error)
    assert launch_button(page).disabled


def test_a_link_names_model_and_images_as_the_command_line_does(engine: InlineEngine) -> None:
    page = opened(model="resnet34", dataset="cifar10", lean="false", seed="7")
    assert not page.warning
    assert page.selectbox(key="model").value == "resnet34"
    assert page.selectbox(key="dataset").value == "cifar10"
    assert page.toggle(key="lean").value is False
    assert page.number_input(key="seed").value == 7


def test_a_comparison_from_click_to_curves(engine: InlineEngine) -> None:
    page = set_small(opened())
    launch_button(page).click()
    page.run()
    assert not page.exception
    assert len(engine.runs) == 5
    assert "Waiting for the first step" in texts(page.markdown)
    assert [b.label for b in page.button].count("Cancel") == 5
    engine.work()
    page.run()
    assert not page.exception
    assert {metric.label for metric in page.metric} == {
        "Linear probe (head only)",
        "Vanilla",
        "ASI",
        "HOSVD",
        "Gradient filter",
    }
    assert all(metric.value.endswith("%") for metric in page.metric)
    assert "ASI keeps" in texts(page.markdown)
    assert "less, at" in texts(page.markdown)
    assert texts(page.caption).count("completed after 2 steps") == 5
    figures = [json.loads(chart.proto.json) for chart in page.get("bidi_component")]
    assert [figure["layout"]["title"]["text"].split(" (")[0] for figure in figures] == [
        "Test accuracy",
        "Activation memory",
        "Training loss",
        "Cost of a step",
        "Time of a step",
        "Spectra of the chosen layer's input",
    ]
    loss = figures[2]["traces"]
    assert [trace["name"] for trace in loss] == [metric.label for metric in page.metric]
    assert all(trace["x"] == [1, 2] for trace in loss)


def test_a_browser_that_is_behind_does_not_bring_back_what_it_showed(
    engine: InlineEngine,
) -> None:
    page = set_small(opened())
    was_chosen = picker(page)._widget_state
    launch_button(page).click()
    page.run()
    (runs,) = own_comparisons()
    assert picker(page).value == runs[0].comparison
    message = page._tree.get_widget_states()
    message.widgets.append(was_chosen)
    page._run(message)
    assert picker(page).value == page.query_params["comparison"] == runs[0].comparison


def test_the_linear_probe_is_queued_last_and_shown_first(engine: InlineEngine) -> None:
    page = set_small(opened())
    launch_button(page).click()
    page.run()
    (runs,) = own_comparisons()
    assert runs[0].spec.layers == 0
    assert sorted(engine.runs) == sorted(run.id for run in runs)
    assert services.store().line()[-1] == runs[0].id


def test_each_layer_and_step_has_spectra_of_its_own(engine: InlineEngine) -> None:
    page = opened()

    def spectra() -> str:
        (found,) = (c for c in page.get("bidi_component") if "Spectra of" in c.proto.json)
        return str(json.loads(found.proto.json)["traces"])

    seen = {spectra()}
    for layer in page.selectbox(key="spectrum_layer").options[1:3]:
        page.selectbox(key="spectrum_layer").set_value(layer)
        page.run()
        seen.add(spectra())
    page.select_slider(key="spectrum_step").set_value(1)
    page.run()
    assert len(seen | {spectra()}) == 4


def test_bits_of_a_kept_number_are_asi_s_alone(engine: InlineEngine) -> None:
    page = set_small(opened())
    page.selectbox(key="bits").set_value(8)
    page.run()
    launch_button(page).click()
    page.run()
    (runs,) = own_comparisons()
    bits = {run.spec.method.kind: getattr(run.spec.method, "bits", None) for run in runs}
    assert bits.pop("asi") == 8
    assert set(bits.values()) == {None}
    assert opened(bits="8").selectbox(key="bits").value == 8


def test_a_queued_run_can_be_cancelled(engine: InlineEngine) -> None:
    page = set_small(opened())
    launch_button(page).click()
    page.run()
    next(button for button in page.button if button.label == "Cancel").click()
    page.run()
    assert "cancelled after 0 steps" in texts(page.caption)
    engine.work()
    page.run()
    assert texts(page.caption).count("completed after 2 steps") == 4


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("image_size", 8, "image size must be at least 32"),
        ("batch_size", 6000, "batch size must be at most 5000"),
        ("steps", 0, "steps must be at least 1"),
        ("patch", 0, "patch must be at least 1"),
    ],
)
def test_wrong_numbers_are_reported_and_nothing_is_launched(
    engine: InlineEngine, key: str, value: float, expected: str
) -> None:
    page = opened()
    page.number_input(key=key).set_value(value)
    page.run()
    assert not page.exception
    assert expected in texts(page.error)
    assert launch_button(page).disabled


@pytest.mark.parametrize(
    ("ranks", "boxes"),
    [
        ("4", {"rank": 4}),
        ("9, 7, 5, 3", {"rank_batch": 9, "rank_channel": 7, "rank_height": 5, "rank_width": 3}),
        ("9, many", {"rank_batch": 9, "rank_channel": 32}),
        ("", {"rank_batch": 16, "rank_width": 4}),
    ],
)
def test_links_of_before_that_name_ranks_are_taken(
    engine: InlineEngine, ranks: str, boxes: dict[str, int]
) -> None:
    page = opened(ranks_from="Given ranks", ranks=ranks)
    found = {box.key: box.value for box in (*page.slider, *page.number_input)}
    assert {key: found[key] for key in boxes} == boxes
    assert "ranks" not in page.query_params


def test_no_method_is_reported(engine: InlineEngine) -> None:
    page = opened()
    page.multiselect(key="methods").set_value([])
    page.run()
    assert "choose at least one" in texts(page.error)


def test_unreadable_weights_are_reported_and_leave_no_run(
    engine: InlineEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / MODELS["efficientnet_lite0"].weights.name).write_bytes(b"damaged")
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(tmp_path))
    page = set_small(opened())
    launch_button(page).click()
    page.run()
    assert not page.exception
    assert "does not hold the weights" in texts(page.error)
    assert engine.runs == []
    assert own_comparisons() == []


def test_an_unknown_model_in_the_link_is_reported(engine: InlineEngine) -> None:
    assert "'nothing', which is unknown" in texts(opened(model="nothing").warning)


def test_a_failed_run_says_why(engine: InlineEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    page = set_small(opened())
    page.number_input(key="learning_rate").set_value(1e30)
    page.number_input(key="clip_norm").set_value(1e30)
    page.number_input(key="steps").set_value(12)
    page.multiselect(key="methods").set_value(["vanilla"])
    page.run()
    launch_button(page).click()
    page.run()
    engine.work()
    page.run()
    assert not page.exception
    assert "lower the learning rate" in texts(page.error)


def upload(page: AppTest, name: str, contents: dict[str, bytes]) -> AppTest:
    page.get("file_uploader")[0].upload(name, zip_bytes(contents), "application/zip").run()
    assert not page.exception
    return page


def test_images_of_ones_own_from_upload_to_accuracy(engine: InlineEngine) -> None:
    page = upload(opened(), "pets.zip", both_splits(train=12, test=4))
    assert "2 classes, 24 training images and 8 test images" in texts(page.success)
    name = page.selectbox(key="dataset").value
    assert name.startswith("upload:pets-")
    set_small(page)
    launch_button(page).click()
    page.run()
    engine.work()
    (runs,) = own_comparisons()
    assert {run.spec.dataset for run in runs} == {name}
    assert {run.status for run in runs} == {"completed"}
    page.run()
    next(b for b in page.button if b.label == "Remove these images").click()
    page.run()
    assert not page.exception
    assert page.selectbox(key="dataset").value == "fashion_mnist_small"
    assert not any("uploaded" in option for option in page.selectbox(key="dataset").options)


def test_damaged_images_are_named_after_the_upload_and_can_be_left_out(
    engine: InlineEngine,
) -> None:
    contents = both_splits(train=12, test=4)
    for name in ("train/cat/3.png", "test/dog/1.png"):
        contents[name] = contents[name][:40]
    del contents["test/dog/2.png"], contents["test/dog/3.png"]
    page = upload(opened(), "pets.zip", contents)
    assert len(engine.jobs) == 1
    assert not texts(page.warning)
    engine.work()
    page.run()
    message = texts(page.warning)
    assert message.startswith("2 of 30 images in pets.zip cannot be read: ")
    assert "'train/cat/3.png' (damaged)" in message
    assert "'test/dog/1.png' (damaged)" in message
    set_small(page)
    launch_button(page).click()
    page.run()
    assert "leave them out" in texts(page.error)
    assert own_comparisons() == []
    page.toggle(key="skip_damaged").set_value(True).run()
    assert "Runs leave them out" in texts(page.info)
    launch_button(page).click()
    page.run()
    engine.work()
    page.run()
    (runs,) = own_comparisons()
    for run in runs:
        assert run.status == "completed"
        images = {"classes": 2, "train": 23, "test": 5, "left_out": 2, "is_unbalanced": True}
        assert run.summary is not None
        assert run.summary["images"] == images
        assert 0 <= run.summary["balanced_accuracy"] <= 1
    captions = [c.value for c in page.caption if "balanced" in c.value]
    assert len(captions) == len(runs)
    assert all("2 damaged images left out" in caption for caption in captions)


def test_a_wrong_zip_is_reported_and_changes_nothing(engine: InlineEngine) -> None:
    page = opened(seed="5")
    upload(page, "bad.zip", {"../cat/0.png": b""})
    assert "'..' in its path" in texts(page.error)
    assert "bad.zip" in texts(page.error)
    assert page.selectbox(key="dataset").value == "fashion_mnist_small"
    assert page.number_input(key="seed").value == 5
    assert not launch_button(page).disabled


def test_numbers_and_log_can_be_taken_along(engine: InlineEngine) -> None:
    page = set_small(opened())
    page.multiselect(key="methods").set_value(["vanilla", "asi"])
    page.run()
    launch_button(page).click()
    page.run()
    engine.work()
    page = opened(
        comparison=own_comparisons()[0][0].comparison,
        **{"train-numbers": "true"},
        **{"train-log": "true"},
    )
    rows = page.dataframe[0].value
    assert rows["run"].tolist() == ["Linear probe (head only)", "Vanilla", "ASI"]
    assert rows["state"].tolist() == ["completed"] * 3
    assert rows["activation_bytes"][1] > rows["activation_bytes"][2] > rows["activation_bytes"][0]
    page.selectbox(key="log_run").set_value("ASI").run()
    assert "all done after" in page.code[0].value
    assert {b.label for b in page.get("download_button")} == {"CSV", "LaTeX"}


def test_what_was_done_before_is_shown_at_once_unless_wanted_anew(engine: InlineEngine) -> None:
    page = set_small(opened())
    assert not any(button.label == "Run all again" for button in page.button)
    launch_button(page).click()
    page.run()
    engine.work()
    page.run()
    assert "5 of 5 runs were done here before" in texts(page.caption)
    launch_button(page).click()
    page.run()
    assert engine.runs == []
    assert len(own_comparisons()) == 1, "the comparison that is there is shown"
    next(button for button in page.button if button.label == "Run all again").click()
    page.run()
    assert len(engine.runs) == 5
    assert len(own_comparisons()) == 2


def test_where_visitors_only_look_nothing_is_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(services, "engine", lambda: started.append("a worker for nobody"))
    monkeypatch.setenv("ASI_READ_ONLY", "1")
    button = launch_button(opened())
    assert button.disabled
    assert "read-only" in button.help
    assert not started


def test_many_runs_are_a_table_and_one_picture(engine: InlineEngine) -> None:
    page = opened(comparison="example-poster-curves-0")
    assert not page.metric
    rows = page.dataframe[0].value
    assert len(rows) == len(set(rows["run"])) > 30
    assert {"state", "accuracy", "against vanilla", "step time"} <= set(rows)
    (chart,) = page.get("bidi_component")
    layout = json.loads(chart.proto.json)["layout"]
    assert layout["title"]["text"].startswith("Test accuracy")
    assert layout["showlegend"] is False


def test_the_memory_of_a_step_is_drawn_for_the_runs_that_have_it(engine: InlineEngine) -> None:
    store = RunStore(read_settings().database_url)
    plain = keep(store, [spec(), asi(0.8)], [0.9, 0.8], [9000, 100])
    assert "What one step needs" not in texts(opened(comparison=plain[0].comparison).markdown)
    runs = store.create([spec(seed=7), asi(0.8, seed=7)], "local")
    for run, size in zip(runs, (3 * 2**20, 2**20), strict=True):
        token = store.attempts.claim(run.id)
        assert token is not None
        happened = [*events(run.spec, 0.9, 100), step_timeline(size)]
        store.append(run.id, token, happened)
        store.finish(run.id, token, "completed", summarise(happened))
    page = opened(**{"comparison": runs[0].comparison, "train-numbers": "true"})
    assert "What one step needs" in texts(page.markdown)
    caption = texts(page.caption).replace("\u202f", " ")
    assert "Measured in step 2 of each run" in caption
    assert "Vanilla 3 MiB, ASI 1 MiB" in caption
    assert list(page.dataframe[0].value["step_peak_bytes"]) == [3 * 2**20, 2**20]


def test_all_runs_are_cancelled_together(engine: InlineEngine) -> None:
    page = opened()
    page.button(key="launch").click().run()
    assert page.button(key="cancel-all").label == "Cancel all"
    page.button(key="cancel-all").click().run()
    assert not page.exception
    assert "cancelled" in texts(page.caption)
    assert not [button for button in page.button if button.label.startswith("Cancel")]


def test_a_completed_comparison_is_lengthened(engine: InlineEngine) -> None:
    page = set_small(opened(schedule="constant"))
    page.multiselect(key="methods").set_value(["vanilla"]).run()
    launch_button(page).click().run()
    assert not [button for button in page.button if button.key == "lengthen-launch"]
    engine.work()
    page.run()
    (old,) = own_comparisons()
    page.number_input(key=f"lengthen-steps-{old[0].comparison}").set_value(5).run()
    button = page.button(key="lengthen-launch")
    assert (button.label, button.disabled) == ("Train on to 5 steps", False)
    button.click().run()
    assert not page.exception
    longer, still = own_comparisons()
    assert still == old
    assert [run.begins_from for run in longer] == [run.id for run in old]
    assert picker(page).value == longer[0].comparison
    engine.work()
    page.run()
    assert texts(page.caption).count("completed after 5 steps") == 2


def test_what_cannot_be_lengthened_is_said_before_the_click(engine: InlineEngine) -> None:
    page = opened()
    assert page.button(key="lengthen-launch").disabled
    assert "The cosine schedule ends with the run" in texts(page.caption)
