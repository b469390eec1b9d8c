"""Random links: the page is drawn, and ignored parameters are reported. It never fails.

`make faults` opens 3,000 links.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

PAGES = Path(__file__).parents[2] / "pages"
LINKS = int(os.environ.get("FUZZ_LINKS", "300"))

# The URL parameters of each page, and its share of the links: some pages take twenty times as long
# as others.
KEYS: dict[str, tuple[float, list[str]]] = {
    "explore": (0.5, [
        "model", "layers", "batch_size", "image_size", "dataset", "ranks_from", "patch", "lean",
        "explained_variance", "rank", "rank_batch", "rank_channel", "activation_budget", "bits",
        "with_momentum", "device_apply_early", "device_micro_batch", "device_methods", "measure",
        "numbers", "formulas", "formula_method", "formula_layer",
    ]),
    "step": (0.05, [
        "model", "layers", "batch_size", "image_size", "ranks_from", "rank", "micro_batch",
        "optimizer", "apply_early", "lean", "step_methods", "source", "with_base", "measure",
    ]),
    "plan": (0.17, [
        "model", "dataset", "layers", "batch_size", "image_size", "seed", "budget_kib", "bits",
        "comparison",
    ]),
    "train": (0.15, [
        "model", "dataset", "layers", "methods", "ranks_from", "explained_variance", "ranks",
        "patch", "steps", "image_size", "batch_size", "seed", "learning_rate", "momentum",
        "clip_norm", "pretrained", "lean", "train_norm", "sequential", "refresh_every", "bits",
        "solver", "comparison", "spectrum_layer", "spectrum_step", "train-log", "log_run",
        "train-numbers", "train-commands", "train-reproduce",
    ]),
    "learn": (0.07, [
        "topic", "lesson", "memory-guess", "low-rank-guess", "warm-start-guess",
        "trade-offs-guess", "alternatives-guess", "layer", "step", "explained_variance",
        "budget_kib", "memory", "model", "depth", "micro_batch", "class", "screen", "revealed",
    ]),
    "spectra": (0.03, [
        "comparison", "run", "layer", "step", "play", "show", "axes", "share", "mode",
        "spectra-commands", "spectra-reproduce",
    ]),
    "compare": (0.015, [
        "task", "tolerance", "by_seed", "only_kind", "only_status", "only_model", "only_dataset",
        "only_owner", "only_comparison", "against", "runs", "named", "sweep_methods",
        "sweep_variances", "sweep_ranks", "sweep_patches", "sweep_layers", "sweep_seeds",
        "sweep_references", "sweep_model", "sweep_dataset", "sweep_steps", "sweep_batch_size",
        "sweep_image_size", "compare-commands",
    ]),
    "poster": (0.015, ["convention", "models", "poster_methods"]),
}  # fmt: skip
VALUES = [
    *("", " ", "0", "-1", "1", "2", "0.5", "1.5", "true", "FALSE", "all", "none", "32", "77"),
    *("1e309", "-1e309", "inf", "-inf", "nan", "1e308", "-1e308", "9" * 5000, "-" + "9" * 5000),
    *("9007199254740992", "18446744073709551616", "1e-400", "0x10", "1_000", "٣", "1,2", "1;2"),
    *("[sign in](https://x)", "<script>alert(1)</script>", "../../etc/passwd", "\x00", "'; --"),
    *("asi", "ASI", "resnet18", "vit_b_32", "Given ranks", "Linear", "Exact", "example-methods"),
    *("x" * 5000, "\u202e", "\U0001f600", "%", "None", "[1]", "{}", "low-rank", "warm-start"),
    *("5", "alternatives", "abcdefgh"),
]


@pytest.fixture(autouse=True)
def read_only(opened_before: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ASI_READ_ONLY", "1")
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def opened(page: str, query: dict[str, str | list[str]]) -> AppTest:
    app = AppTest.from_file(str(PAGES / f"{page}.py"), default_timeout=180)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    message = {key: str(value)[:40] for key, value in query.items()}
    assert not app.exception, (page, message, [e.stack_trace for e in app.exception])
    assert not [e for e in app.error if "could not be drawn" in e.value], (page, message)
    for warning in app.warning:
        assert "\n" not in warning.value
        assert len(warning.value) < 1500, (page, message)
    return app


@pytest.fixture(scope="module")
def usual() -> dict[str, Any]:
    """Pages opened without parameters, and the state that their boxes have then."""
    return {}


@pytest.mark.parametrize("page", KEYS)
def test_any_link_draws_the_page(page: str) -> None:
    draw = random.Random(page)
    share, keys = KEYS[page]
    for _ in range(round(share * LINKS)):
        some = draw.sample(keys, draw.randint(1, min(4, len(keys))))
        query: dict[str, str | list[str]] = {key: draw.choice(VALUES) for key in some}
        if draw.random() < 0.05:
            query[some[0]] = [draw.choice(VALUES), draw.choice(VALUES)]
        opened(page, query)


def test_there_are_as_many_links_as_are_said() -> None:
    assert abs(sum(share for share, _ in KEYS.values()) - 1) < 1e-9


@pytest.mark.parametrize(
    ("page", "key", "value", "reason", "default"),
    [
        ("train", "steps", "1e309", "it is not a finite number", 150),
        ("train", "batch_size", "-inf", "it is not a finite number", 64),
        ("train", "seed", "9" * 5000, "it is not a finite number", 0),
        ("train", "layers", "1e300", "the number is too large", 4),
        ("train", "layers", "four", "its box does not accept it", 4),
        ("train", "weight_decay", "", "it is empty", 0.0001),
        ("train", "bits", "77", "its box does not accept it", 32),
        ("compare", "against", "", "it is empty", "Activation memory"),
        ("compare", "sweep_steps", "nan", "it is not a finite number", 150),
        ("compare", "tolerance", "-3", "its box does not accept it", 1.0),
        ("spectra", "show", "", "it is empty", "Explained energy"),
        ("spectra", "share", "inf", "it is not a finite number", 80),
        ("spectra", "run", "nobody", "its box does not accept it", None),
        ("plan", "budget_kib", "1e309", "it is not a finite number", None),
        ("explore", "layers", "-inf", "it is not a finite number", None),
        ("poster", "convention", "", "it is empty", "paper"),
        ("step", "micro_batch", "1e309", "it is not a finite number", None),
        ("step", "source", "guessed", "its box does not accept it", "formula"),
    ],
)
def test_what_no_box_takes_is_reported_and_its_default_drawn(
    usual: dict[str, Any], page: str, key: str, value: str, reason: str, default: object
) -> None:
    app = opened(page, {key: value})
    (message,) = [w.value for w in app.warning if "is ignored" in w.value]
    assert message.replace("\\", "").startswith(f"The link's {key}=")
    assert f"({reason})" in message
    if page not in usual:
        usual[page] = opened(page, {}).session_state
    assert app.session_state[key] == usual[page][key]
    assert default is None or usual[page][key] == default
    assert not [w for w in app.run().warning if "is ignored" in w.value], "told once"


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("train", {"steps": "200", "bits": "8", "lean": "false", "methods": ["ASI", "Vanilla"]}),
        ("train", {"model": "EfficientNet-Lite0", "steps": "150", "lean": "true"}),
        ("train", {"model": "mcunet_in1", "ranks_from": "Given ranks", "ranks": "8"}),
        ("compare", {"against": "Multiplies", "by_seed": "False", "only_kind": ["ASI"]}),
        ("spectra", {"show": "Singular values", "share": "80", "axes": "Log", "mode": "Height"}),
        ("poster", {"convention": "exact", "models": ["ResNet-18"]}),
        ("explore", {"layers": "2", "utm_source": "letter"}),
        ("step", {"micro_batch": "8", "step_methods": ["ASI", "Lean vanilla"]}),
        ("step", {"step_methods": ""}),
    ],
)
def test_what_boxes_take_is_not_reported(page: str, query: dict[str, str | list[str]]) -> None:
    assert not [w.value for w in opened(page, query).warning]


def test_all_boxes_that_may_be_empty_are_known() -> None:
    """An empty parameter of a multiselect box means that nothing is chosen."""
    app = opened("train", {"methods": ""})
    assert not [w for w in app.warning if "is ignored" in w.value]
