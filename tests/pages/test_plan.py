"""The Plan page without a browser; the worker is replaced by running in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from asi_core.datasets import DATASETS
from asi_core.methods import ASI
from asi_core.planning import LayerProfile, plan, profiles_from_dict, smallest_bytes
from asi_core.runs.engine.job_worker import execute_job
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.training.spec import RUN_DEFAULTS, RunSpec
from asi_core.units import format_bytes, three_digits
from asi_core.zoo.cards import MODELS
from dashboard import services

pytestmark = pytest.mark.usefixtures("opened_before")
PAGE = str(Path(__file__).parents[2] / "pages" / "plan.py")
CALIBRATE, TRAIN = "Calibrate these layers", "Train this plan"
SMALL = {"layers": "2", "batch_size": "8", "image_size": "32"}


class InlineEngine:
    """Records runs, and executes jobs in this process on demand."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.jobs: list[str] = []

    def submit(self, run_id: str) -> None:
        self.runs.append(run_id)

    def submit_job(self, job_id: str) -> None:
        self.jobs.append(job_id)

    def work(self) -> None:
        for job_id in self.jobs:
            execute_job(job_id, read_settings().database_url)
        self.jobs.clear()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[InlineEngine]:
    st.cache_resource.clear()
    inline = InlineEngine()
    monkeypatch.setattr(services, "engine", lambda: inline)
    yield inline
    st.cache_resource.clear()


def opened(**query: str) -> AppTest:
    page = AppTest.from_file(PAGE, default_timeout=180)
    for key, value in query.items():
        page.query_params[key] = value
    page.run()
    assert not page.exception
    return page


def button(page: AppTest, label: str) -> Any:
    return next(button for button in page.button if button.label == label)


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def texts(elements: Any) -> str:
    return "\n".join(element.value for element in elements)


def default_profiles() -> list[Any]:
    job = JobStore(read_settings().database_url).latest(
        "calibrate", RunSpec(method={"kind": "vanilla"})
    )  # type: ignore[arg-type]
    assert job is not None
    assert job.result is not None
    return profiles_from_dict(job.result)


def test_a_first_visit_shows_a_plan_at_once(engine: InlineEngine) -> None:
    page = opened()
    expected = plan(default_profiles(), 256 * 1024)
    sentence = texts(page.markdown)
    assert "Within 256 KiB the best ranks keep" in sentence.replace("\u202f", " ")
    assert format_bytes(expected.total_bytes) in sentence
    assert f"gradient error of {three_digits(expected.gradient_error)}" in sentence
    assert [m.label for m in page.metric][:3] == [
        "Memory against vanilla",
        "Gradient error",
        "Budget used",
    ]
    assert CALIBRATE not in labels(page)
    table = page.dataframe[0].value
    assert table["kept_bytes"].sum() == expected.total_bytes <= 256 * 1024
    ranks = table[["batch", "channel", "height", "width"]].to_numpy().tolist()
    assert ranks == [list(r) for r in expected.ranks.values()]
    assert engine.jobs == engine.runs == []


def test_without_weights_a_plan_is_of_random_ones(engine: InlineEngine) -> None:
    """The weights of ResNet-18 are not here."""
    page = opened(model="resnet18", pretrained="false", budget_kib="20", **SMALL)
    button(page, CALIBRATE).click()
    page.run()
    engine.work()
    page.run()
    assert not page.exception
    assert not page.error
    assert "Within 20\u202fKiB the best ranks keep" in texts(page.markdown)


def test_a_named_budget_is_one_click(engine: InlineEngine) -> None:
    page = opened()
    assert page.button_group(key="budget_named").value == "256 KiB"
    page.button_group(key="budget_named").set_value("64 KiB")
    page.run()
    assert not page.exception
    assert page.number_input(key="budget_kib").value == 64
    assert page.dataframe[0].value["kept_bytes"].sum() <= 64 * 1024
    page.number_input(key="budget_kib").set_value(77)
    page.run()
    assert page.button_group(key="budget_named").value is None


@pytest.mark.parametrize(
    ("model", "dataset"), [("vit_b_32", "cifar10"), ("ViT-B/32", DATASETS["cifar10"].title)]
)
def test_a_link_gives_the_same_view(engine: InlineEngine, model: str, dataset: str) -> None:
    page = opened(
        model=model,
        dataset=dataset,
        layers="3",
        batch_size="16",
        image_size="224",
        seed="7",
        budget_kib="320",
    )
    assert page.selectbox(key="model").value == "vit_b_32"
    assert page.selectbox(key="dataset").value == "cifar10"
    numbers = {key: page.number_input(key=key).value for key in ("batch_size", "seed")}
    assert numbers == {"batch_size": 16, "seed": 7}
    assert page.slider(key="layers").value == 3
    assert page.number_input(key="budget_kib").value == 320
    assert page.button_group(key="budget_named").value == "320 KiB (STM32F746)"
    assert "There is no calibration yet of the last 3 layers of ViT-B/32" in texts(page.markdown)


def test_too_small_a_budget_says_what_is_needed(engine: InlineEngine) -> None:
    page = opened(budget_kib="10")
    needed = smallest_bytes(default_profiles())
    assert f"keep {format_bytes(needed)}" in texts(page.markdown)
    assert "10\u202fKiB is not enough" in texts(page.markdown)
    assert f"({needed} bytes)" in texts(page.error)
    assert "raise the budget" in texts(page.error)
    assert TRAIN not in labels(page)


def test_a_budget_for_everything_says_so(engine: InlineEngine) -> None:
    page = opened(budget_kib="100000")
    assert "is enough for everything" in texts(page.markdown)
    assert page.metric[1].value == "0"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"budget_kib": "0"}, "budget must be at least 1 byte, got 0"),
        ({"budget_kib": "-5"}, "budget must be at least 1 byte"),
        ({"batch_size": "6000"}, "batch size must be at most 5000"),
        ({"image_size": "8"}, "image size must be at least 32"),
        ({"seed": "-1"}, "seed must be at least 0"),
    ],
)
def test_wrong_values_are_reported(
    engine: InlineEngine, query: dict[str, str], expected: str
) -> None:
    page = opened(**query)
    assert expected in texts(page.error)
    assert TRAIN not in labels(page)
    assert CALIBRATE not in labels(page)


@pytest.mark.parametrize(
    "query", [{"budget_kib": "much"}, {"layers": "many"}, {"layers": "0"}, {"seed": "1e99"}]
)
def test_nonsense_in_a_link_is_ignored(engine: InlineEngine, query: dict[str, str]) -> None:
    assert "the best ranks keep" in texts(opened(**query).markdown)


def test_an_unknown_model_in_the_link_is_reported(engine: InlineEngine) -> None:
    assert "'nothing', which is unknown" in texts(opened(model="nothing").warning)


def test_a_model_that_reads_one_size_is_given_that(engine: InlineEngine) -> None:
    page = opened(model="vit_b_32", image_size="96")
    (size,) = [box for box in page.number_input if box.label == "Image size, pixels"]
    assert (size.value, size.disabled) == (MODELS["vit_b_32"].native_size, True)
    assert "224 px" in texts(page.markdown)
    page.selectbox(key="model").set_value("resnet18")
    page.run()
    assert page.number_input(key="image_size").value == 96


def test_other_layers_are_calibrated_and_planned(engine: InlineEngine) -> None:
    page = opened(**SMALL, budget_kib="8")
    assert "There is no calibration yet of" in texts(page.markdown)
    button(page, CALIBRATE).click()
    page.run()
    assert not page.exception
    assert len(engine.jobs) == 1
    assert "Queued in the worker" in texts(page.info)
    assert CALIBRATE not in labels(page)
    engine.work()
    page.run()
    assert not page.exception
    assert not page.info
    assert "Within 8\u202fKiB the best ranks keep" in texts(page.markdown)
    page.number_input(key="budget_kib").set_value(20)
    page.run()
    assert "Within 20\u202fKiB" in texts(page.markdown)
    assert engine.jobs == []


def test_a_calibration_that_fails_says_why_and_may_be_tried_again(
    engine: InlineEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asi_core.errors import AsiError
    from asi_core.training import calibration

    def failing(*arguments: Any, **keywords: Any) -> Any:
        raise AsiError("there was no memory left.")

    page = opened(**SMALL, budget_kib="8")
    button(page, CALIBRATE).click()
    page.run()
    with monkeypatch.context() as broken:
        broken.setattr(calibration, "calibrate", failing)
        engine.work()
    page.run()
    assert "there was no memory left." in texts(page.error)
    button(page, "Try again").click()
    page.run()
    engine.work()
    page.run()
    assert not page.error
    assert "the best ranks keep" in texts(page.markdown)


def test_damaged_weights_are_reported_and_nothing_is_queued(
    engine: InlineEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / MODELS["efficientnet_lite0"].weights.name).write_bytes(b"damaged")
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(tmp_path))
    page = opened(**SMALL)
    button(page, CALIBRATE).click()
    page.run()
    assert not page.exception
    assert "does not hold the weights" in texts(page.error)
    assert engine.jobs == []
    assert CALIBRATE in labels(page)


def test_one_click_trains_the_plan_beside_what_it_is_compared_with(
    engine: InlineEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    led_to: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(
        st, "switch_page", lambda page, *, query_params: led_to.append((page, query_params))
    )
    page = opened(budget_kib="128")
    button(page, TRAIN).click()
    page.run()
    assert not page.exception
    runs = RunStore(read_settings().database_url).latest_comparisons(1)[0]
    head, vanilla, uniform, planned = [run.spec for run in runs]
    assert (head.layers, vanilla.method.kind) == (0, "vanilla")
    assert isinstance(uniform.method, ASI)
    assert uniform.method.explained_variance == 0.8
    assert isinstance(planned.method, ASI)
    assert planned.method.budget_bytes == 128 * 1024
    assert {run.spec.steps for run in runs} == {RUN_DEFAULTS["steps"]}
    assert engine.runs == [run.id for run in runs]
    (target, query), *others = led_to
    assert others == []
    assert target.url_path == "train"
    assert query == {"comparison": runs[0].comparison}


def test_in_fewer_bits_higher_ranks_fit(engine: InlineEngine) -> None:
    def error(page: AppTest) -> float:
        return float(next(m.value for m in page.metric if m.label == "Gradient error"))

    assert error(opened(budget_kib="128", bits="8")) < error(opened(budget_kib="128"))
    page = opened(budget_kib="128", bits="8")
    button(page, TRAIN).click()
    page.run()
    runs = RunStore(read_settings().database_url).latest_comparisons(1)[0]
    uniform, made = (run.spec.method for run in runs[2:])
    assert isinstance(uniform, ASI)
    assert isinstance(made, ASI)
    assert (uniform.bits, made.bits, made.budget_bytes) == (8, 8, 128 * 1024)


def test_a_plan_in_fewer_bits_is_the_one_that_a_run_makes() -> None:
    """One calibration serves all bits: it gives the ranks of a run's own calibration."""
    from asi_core.training.calibration import calibrate
    from dashboard.plan.planned import planned

    start = {"layers": 2, "batch_size": 8, "image_size": 32}
    by_run = {
        bits: calibrate(
            RunSpec.model_validate(
                {**start, "method": {"kind": "asi", "budget_bytes": 2**16, "bits": bits}}
            )
        )
        for bits in (32, 16, 8)
    }
    for bits, profiles in by_run.items():
        found = planned(by_run[32], 2**16, bits).profiles
        assert [_without_macs(p) for p in found] == [_without_macs(p) for p in profiles]
        made = planned(by_run[32], 2**16, bits).plan
        assert made is not None
        assert made.ranks == plan(profiles, 2**16).ranks


def test_where_no_uniform_choice_fits_only_the_plan_is_trained(engine: InlineEngine) -> None:
    from dashboard.plan.controls import plan_question
    from dashboard.plan.planned import kpis, planned
    from dashboard.plan.training import plan_specs
    from dashboard.setup import Setup

    opened()
    profiles = default_profiles()
    setup = Setup("efficientnet_lite0", "fashion_mnist_small", False, 4, 64, 96)
    asked = plan_question(setup, 256, seed=0, pretrained=True)
    least = planned(profiles, smallest_bytes(profiles))
    less = planned([*profiles, *profiles], smallest_bytes(profiles) * 2)
    assert len(plan_specs(asked, least)) == 4 or least.uniform is None
    assert less.plan is not None
    without = type(least)(least.profiles, least.budget_bytes, least.plan, None)
    assert [s.method.kind for s in plan_specs(asked, without)] == ["vanilla", "vanilla", "asi"]
    assert kpis(without)[-1].note == "nothing else fits"


def test_what_fits_as_a_whole_is_found_and_trained(engine: InlineEngine) -> None:
    page = opened(budget_kib="15000", **{**SMALL, "batch_size": "2"})
    assert not page.exception
    page.button(key="plan-fit-ask").click().run()
    (job_id,) = engine.jobs
    engine.work()
    page.run()
    found = JobStore(read_settings().database_url).job(job_id)
    assert found is not None
    assert found.result is not None
    assert found.result["budget_bytes"] == 15000 * 1024
    assert found.result["fits"] == (found.result["total_bytes"] <= 15000 * 1024)
    assert found.result["fits"]
    page.button(key="train-fit").click().run()
    assert not page.exception
    assert len(engine.runs) in (2, 3)


def test_what_needs_more_than_the_budget_says_how_much(engine: InlineEngine) -> None:
    page = opened(model="MCUNet-in1", budget_kib="64", **{**SMALL, "batch_size": "2"})
    page.button(key="plan-fit-ask").click().run()
    engine.work()
    page.run()
    assert not page.exception
    assert any("Nothing fits into 64\u202fKiB" in m.value for m in page.markdown)
    assert page.button(key="train-fit").disabled


def test_a_link_with_a_log_axis_is_logarithmic_at_once(engine: InlineEngine) -> None:
    def axis(page: AppTest) -> str | None:
        charts = [json.loads(chart.proto.json) for chart in page.get("bidi_component")]
        kept = next(c for c in charts if c["layout"]["title"]["text"].startswith("Kept by"))
        return kept["layout"]["xaxis"].get("type")

    assert axis(opened()) != "log"
    assert axis(opened(axis="log")) == "log"


def test_a_preset_after_another_budget_ignores_nothing_of_the_link(engine: InlineEngine) -> None:
    page = opened(budget_kib="272")
    page.button_group(key="budget_named").set_value("64 KiB").run()
    assert page.number_input(key="budget_kib").value == 64
    assert not page.warning


def _without_macs(profile: LayerProfile) -> LayerProfile:
    candidates = tuple(replace(c, macs=None) for c in profile.candidates)
    return replace(profile, candidates=candidates)
