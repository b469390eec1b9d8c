"""The Explore page without a browser; the worker is replaced by running in this process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from asi_core.costs.accounting import step_cost
from asi_core.costs.devices import DEVICES
from asi_core.costs.estimate import estimate
from asi_core.costs.formulas import layer_formulas
from asi_core.datasets import DATASETS
from asi_core.methods import ASI, METHODS, WASI, GradientFilter, Sparse, Vanilla
from asi_core.planning import profiles_from_dict
from asi_core.runs.store.job_store import JobStore
from asi_core.settings import read_settings
from asi_core.training.formula_memory import formula_need
from asi_core.training.spec import RunSpec
from asi_core.units import format_bytes
from asi_core.zoo.cards import MODELS
from asi_core.zoo.shapes import trained_layer_shapes
from dashboard import links, services
from dashboard.explore.equations import equation
from tests.pages.inline import InlineEngine, inline_engine

pytestmark = pytest.mark.usefixtures("opened_before")
PAGES = Path(__file__).parents[2] / "pages"
SMALL = {"layers": "2", "batch_size": "8", "image_size": "32"}
# WASI is for linear layers, and what a sparse update keeps is planned on the images.
SHOWN = [method for method in METHODS.values() if method not in (WASI, Sparse)]
BY_RANK = {"ranks_from": "One rank"}


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[InlineEngine]:
    yield from inline_engine(monkeypatch)


def opened(page: str = "explore", **query: str) -> AppTest:
    app = AppTest.from_file(str(PAGES / f"{page}.py"), default_timeout=180)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def drawn_with(page: AppTest, **values: int) -> AppTest:
    """Rerun the whole page with other values; moving a box would rerun only the figures."""
    for key, value in values.items():
        page.session_state[key] = value
    page.run()
    assert not page.exception
    return page


def kept(page: AppTest) -> dict[str, str]:
    """What each method keeps, as shown."""
    labels = (metric.label.removesuffix(" keeps") for metric in page.metric)
    return dict(zip(labels, (metric.value for metric in page.metric), strict=True))


def texts(elements: Any) -> str:
    return "\n".join(element.value for element in elements)


def click(page: AppTest, label: str) -> None:
    next(button for button in page.button if button.label == label).click()
    page.run()
    assert not page.exception


def test_the_first_view_has_all_methods_at_the_ranks_of_the_shipped_spectra() -> None:
    page = opened()
    assert page.selectbox(key="ranks_from").value == "Explained variance"
    job = services.jobs().latest("calibrate", RunSpec(method=Vanilla()), "completed")
    assert job is not None
    assert job.result is not None
    names = [profile.name for profile in profiles_from_dict(job.result)]
    assert names == [s.name for s in trained_layer_shapes("efficientnet_lite0", 4, 64, 96)]
    assert set(kept(page)) == {method.label for method in SHOWN}
    assert "WASI is not shown for EfficientNet-Lite0" in texts(page.caption)
    assert "Sparse update is not shown: what it keeps is planned" in texts(page.caption)
    assert "whose weights stay frozen" in texts(page.caption)
    assert kept(page)["Vanilla"] == "6.19\u202fMiB"
    assert "ASI keeps" in texts(page.markdown)
    assert not page.info
    assert not page.warning


def test_layers_are_chosen_by_name() -> None:
    page = opened(layer_names="blocks.14.*conv conv_head", **BY_RANK)
    assert page.text_input(key="layer_names").value == "blocks.14.*conv conv_head"
    assert page.slider(key="layers").disabled
    cost = estimate(
        "efficientnet_lite0",
        Vanilla(),
        layers="blocks.14.*conv conv_head",
        batch_size=64,
        image_size=96,
        convention="exact",
    )
    assert len(cost.layers) == 4
    assert kept(page)["Vanilla"] == format_bytes(cost.activation_bytes)
    assert "for layers blocks.14.\\*conv conv_head of" in texts(page.markdown)
    # WASI is shown where all chosen layers are pointwise.
    pointwise = opened(layer_names="blocks.14.project_conv conv_head", **BY_RANK)
    assert "WASI" in kept(pointwise)


def test_a_name_of_no_layer_is_told() -> None:
    page = opened(layer_names="nothing.*")
    assert "layers must be layers of the model, got 'nothing.\\*'" in texts(page.error)


def test_ranks_are_the_smallest_that_reach_the_share() -> None:
    page = opened(explained_variance="0.5")
    job = services.jobs().latest("calibrate", RunSpec(method=Vanilla()), "completed")
    assert job is not None
    assert job.result is not None
    ranks = {}
    for profile in profiles_from_dict(job.result):
        rows = []
        for values in profile.singular_values:
            total, rank, reached = sum(v * v for v in values), 0, 0.0
            while reached < 0.5 * total:
                reached += values[rank] ** 2
                rank += 1
            rows.append(rank)
        ranks[profile.name] = tuple(rows)
    shapes = trained_layer_shapes("efficientnet_lite0", 4, 64, 96)
    expected = step_cost(shapes, ASI(explained_variance=0.5), "exact", ranks)
    assert kept(page)["ASI"] == format_bytes(expected.activation_bytes)


@pytest.mark.parametrize("convention", ["exact", "paper"])
@pytest.mark.parametrize("model", MODELS)
def test_numbers_are_those_of_estimate(model: str, convention: str) -> None:
    card = MODELS[model]
    size = 224 if card.fixed_size else 64
    page = opened(
        model=card.title,
        layers="3",
        batch_size="16",
        image_size=str(size),
        ranks_from="One rank",
        rank="5",
        patch="3",
        convention=convention,
    )
    methods = [Vanilla(), ASI(ranks=5)]
    methods += [GradientFilter(patch=3)] if card.layer_kind == "conv" else []  # type: ignore[list-item]
    for method in methods:
        settings = {"layers": 3, "batch_size": 16, "image_size": size, "convention": convention}
        cost = estimate(model, method, **settings)  # type: ignore[arg-type]
        assert kept(page)[method.label] == format_bytes(cost.activation_bytes)
    if card.layer_kind == "linear":
        assert "Gradient filter" not in kept(page)
        assert "Gradient filter is not shown for" in texts(page.caption)
        assert "averages over image patches" in texts(page.caption)


def test_fewer_layers_are_served_by_the_same_spectra_and_more_are_not() -> None:
    page = opened(layers="2")
    assert "ASI" in kept(page)
    drawn_with(page, layers=5)
    without_spectra = [m for m in SHOWN if "explained_variance" not in m.model_fields]
    assert set(kept(page)) == {method.label for method in without_spectra}
    assert "there is no calibration yet of" in texts(page.info)
    drawn_with(page, layers=4, batch_size=63)
    assert "at batch size 63 and 96 px" in texts(page.info)
    assert "ASI" not in kept(page)
    assert "is not shown yet: its ranks" in texts(page.caption)


def test_a_calibration_from_click_to_ranks(engine: InlineEngine) -> None:
    page = opened(**SMALL)
    assert "ASI" not in kept(page)
    click(page, "Calibrate these layers")
    engine.work()
    page.run()
    assert not page.exception
    assert "ASI" in kept(page)
    assert not page.info


def test_a_failed_calibration_says_why(engine: InlineEngine) -> None:
    page = opened(**SMALL)
    click(page, "Calibrate these layers")
    jobs = JobStore(read_settings().database_url)
    (job_id,) = engine.jobs
    token = jobs.attempts.claim(job_id)
    assert token is not None
    jobs.fail(job_id, token, "the images cannot be read.")
    page.run()
    assert "the images cannot be read" in texts(page.error)
    assert "Vanilla" in kept(page)


def test_a_link_with_all_controls_shows_the_same_in_a_new_window() -> None:
    page = opened()
    page.selectbox(key="model").set_value("resnet18").run()
    page.selectbox(key="ranks_from").set_value("Ranks per mode").run()
    page.selectbox(key="dataset").set_value("cifar100")
    page.number_input(key="budget_mcu256").set_value(300.0)
    page.toggle(key="device_apply_early").set_value(True)
    ranks = {"rank_batch": 9, "rank_channel": 7, "rank_height": 5, "rank_width": 3}
    drawn_with(page, layers=7, batch_size=24, patch=3, image_size=128, **ranks)
    query = {
        "model": "ResNet-18",
        "ranks_from": "Ranks per mode",
        "layers": "7",
        "batch_size": "24",
        "patch": "3",
        "image_size": "128",
        "dataset": DATASETS["cifar100"].title,
        "rank_batch": "9",
        "rank_channel": "7",
        "rank_height": "5",
        "rank_width": "3",
        "budget_mcu256": "300",
        "device_apply_early": "true",
        "convention": "paper",
        "cost_unit": "FLOPs",
        "memory_unit": "MiB",
        "bars": "per layer",
        "axis": "log",
    }
    for key in ("convention", "cost_unit", "memory_unit", "bars"):
        page.radio(key=key).set_value(query[key])
    page.segmented_control(key="axis").set_value(query["axis"])
    page.run()
    again = opened(**query)
    assert not again.warning
    assert kept(again) == kept(page)
    assert [m.delta for m in again.metric] == [m.delta for m in page.metric]
    assert texts(again.markdown) == texts(page.markdown)
    assert texts(again.caption) == texts(page.caption)
    assert "300" in texts(again.markdown)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("layers", "9999"),
        ("layers", "many"),
        ("explained_variance", "7"),
        ("ranks_from", "nowhere"),
        ("convention", "mine"),
        ("rank", "0"),
        ("budget_laptop", "-1"),
        ("formulas", "perhaps"),
    ],
)
def test_wrong_values_in_a_link_are_passed_over(key: str, value: str) -> None:
    assert kept(opened(**{key: value})) == kept(opened())


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("batch_size", "-4", "batch size must be at least 1, got -4"),
        ("image_size", "97", "got 97: choose 96"),
        ("image_size", "8", "image size must be at least 32"),
        ("patch", "0", "patch must be at least 1 and at most 4096, got 0"),
    ],
)
def test_numbers_that_mean_nothing_are_one_sentence(key: str, value: str, expected: str) -> None:
    page = opened(**{key: value})
    assert expected in texts(page.error)
    assert not page.metric


def test_an_unknown_model_in_a_link_is_reported() -> None:
    assert "the model 'resnet-900', which is unknown" in texts(opened(model="resnet-900").warning)
    assert not opened(model="ResNet-18", **BY_RANK).warning


def test_devices_tell_what_fits(engine: InlineEngine) -> None:
    page = opened(model="MCUNet-in1", layers="1", batch_size="1", image_size="32", **BY_RANK)
    assert all("ASI: not computed yet" in card for card in _cards(page).values())
    page.button(key="device-compute").click().run()
    assert len(engine.jobs) == 2
    engine.work()
    page.run()
    cards = _cards(page)
    assert len(cards) == len(DEVICES)
    assert "ASI fits" in cards["Laptop"]
    page.number_input(key="budget_duo").set_value(0.5).run()
    cards = _cards(page)
    assert "has 512\u202fKiB" in cards["Milk-V Duo"]
    # Of one need: with frozen weights where they lie in memory, and without them.
    spec = RunSpec(model="mcunet_in1", layers=1, batch_size=1, image_size=32, method=Vanilla())
    need = formula_need(spec)
    flash, memory = (format_bytes(need.total(frozen_in_flash=f)) for f in (True, False))
    assert f"Vanilla needs {flash}" in cards["Small microcontroller"]
    assert f"Vanilla needs {memory}" in cards["Milk-V Duo"]


def test_the_first_view_knows_what_devices_fit(engine: InlineEngine) -> None:
    page = opened()
    assert len(_cards(page)) == len(DEVICES)
    assert engine.jobs == []


def test_how_a_step_is_run_changes_what_fits(engine: InlineEngine) -> None:
    page = opened(**SMALL, **BY_RANK)
    page.number_input(key="device_micro_batch").set_value(2).run()
    page.toggle(key="device_apply_early").set_value(True).run()
    page.button(key="device-compute").click().run()
    specs = [job.spec for job_id in engine.jobs if (job := services.jobs().job(job_id))]
    assert {(spec.micro_batch, spec.apply_early) for spec in specs} == {(2, True)}
    page.number_input(key="device_micro_batch").set_value(9).run()
    assert "the micro-batch must be at most 8" in texts(page.error)


def _cards(page: AppTest) -> dict[str, str]:
    """The devices' cards, by name."""
    return {m.value.split("**")[1]: m.value for m in page.markdown if "** has " in m.value}


def test_formulas_of_a_chosen_layer_come_out_as_counted() -> None:
    page = opened(formulas="true", rank="6", **BY_RANK)
    assert page.selectbox(key="formula_method").value == "ASI"
    page.selectbox(key="formula_layer").set_value("2 · blocks.15.depthwise_conv").run()
    shape = trained_layer_shapes("efficientnet_lite0", 4, 64, 96)[1]
    method = ASI(ranks=6)
    ranks = method.ranks_for(shape)
    formulas = layer_formulas(method, shape, ranks, "exact")
    shown = [element.value for element in page.latex]
    assert len(shown) == 5
    assert (
        r"4 \cdot \left(6 \cdot 6 \cdot 3 \cdot 3 + 64 \cdot 6 + 1\,152 \cdot 6\right)" in shown[0]
    )
    assert r"k_{\mathrm{B}} \cdot k_{\mathrm{C}}" in shown[0]
    for latex, formula in zip(shown, formulas.values(), strict=True):
        assert equation(formula) in latex
        result = re.search(r"mathbf{([\d\\,]+)}", latex)
        assert result is not None
        assert int(re.sub(r"\D", "", result[1])) == formula.value
    assert formulas["kept"].value == method.saved_bytes(shape, ranks, "exact")


@pytest.mark.parametrize("convention", ["exact", "paper"])
def test_an_input_that_two_layers_read_is_counted_as_the_convention_says(convention: str) -> None:
    settings = {"model": "ResNet-18", "layers": "5", "batch_size": "4", "image_size": "64"}
    page = opened(**BY_RANK, **settings, formulas="true", numbers="true", convention=convention)
    page.selectbox(key="formula_method").set_value("Vanilla").run()
    page.selectbox(key="formula_layer").set_value("3 · layer4.0.downsample.0").run()
    counted_once = "this layer reads the same tensor as layer4.0.conv1, which counts it"
    counted_twice = "64\u202fKiB of vanilla's are inputs that two layers share"
    assert (counted_once in texts(page.markdown)) == (convention == "exact")
    assert (counted_twice in texts(page.caption)) == (convention == "paper")
    assert kept(page)["Vanilla"] == {"exact": "160\u202fKiB", "paper": "224\u202fKiB"}[convention]


def test_closed_drawers_compute_nothing() -> None:
    page = opened()
    assert not page.latex
    labels = {button.label for button in page.button}
    assert labels == {"Train this", "Use this configuration"}


def test_a_measurement_from_click_to_formula_beside_it(engine: InlineEngine) -> None:
    page = opened(**SMALL, **BY_RANK, measure="true")
    click(page, "Measure ASI")
    engine.work()
    page.run()
    assert not page.exception
    assert "to the byte" in texts(page.markdown)
    assert "what lean layers need for their own gradients" in texts(page.markdown)
    asked = [button.label for button in page.button if button.label.startswith("Measure")]
    others = [method.label for method in METHODS.values() if method not in (ASI, WASI)]
    assert asked == [f"Measure {label}" for label in others]


@pytest.mark.parametrize("name", ["explore", "train", "plan"])
def test_a_link_names_model_and_images_as_the_command_line_does(name: str) -> None:
    page = opened(name, model="mcunet_in1", dataset="cifar10")
    assert not page.warning
    assert page.selectbox(key="model").value == "mcunet_in1"
    assert page.selectbox(key="dataset").value == "cifar10"
    # The address has their titles.
    assert page.query_params["model"] == MODELS["mcunet_in1"].title
    assert page.query_params["dataset"] == DATASETS["cifar10"].title


def test_the_setup_is_written_into_an_address_that_was_cleared() -> None:
    """Switching the page clears the address, and what is sent meanwhile keeps boxes as they are."""
    page = opened(**SMALL, **BY_RANK, rank="9", model="mobilenet_v2")
    given = {key: page.query_params[key] for key in (*SMALL, *BY_RANK, "rank", "model")}
    for key in list(page.query_params):
        del page.query_params[key]
    page.run()
    assert {key: page.query_params.get(key) for key in given} == dict.fromkeys(given)
    page.session_state[links._CLEARED] = True
    page.run()
    assert {key: page.query_params[key] for key in given} == given


@pytest.mark.parametrize(
    ("budget", "rank"),
    # A mode at full rank has no factor: 64 fits although 62 does not.
    [(256, 17), (16, 1), (4, 0), (1280, 64), (8192, None), (99_999, None)],
)
def test_the_largest_rank_is_the_last_that_fits(budget: int, rank: int | None) -> None:
    page = opened(activation_budget=str(budget))
    (message,) = (m.value for m in page.markdown if "rank" in m.value.lower() and "**" in m.value)
    shapes = trained_layer_shapes("efficientnet_lite0", 4, 64, 96)
    taken = [step_cost(shapes, ASI(ranks=r), "exact").activation_bytes for r in range(1, 1153)]
    fitting = [r for r, size in enumerate(taken, start=1) if size <= budget * 1024]
    if rank is None:
        assert fitting[-1] == len(taken)
        assert "**The whole inputs** fit" in message
    elif rank == 0:
        assert not fitting
        assert "Even **rank 1**" in message
    else:
        assert max(fitting) == rank
        assert f"**rank {rank}** is the largest" in message
