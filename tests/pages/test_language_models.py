"""Language models on Explore: the same numbers as the formulas, by name, link and own text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from asi_core.costs.estimate import estimate
from asi_core.methods import ASI, Vanilla
from asi_core.units import format_bytes
from asi_core.zoo import apart, outside
from asi_core.zoo.configurations import EXAMPLE, keep_configuration
from asi_core.zoo.making import made_facts
from asi_core.zoo.outside import title_of
from tests.pages.test_explore import engine, kept, opened, texts  # noqa: F401

pytest.importorskip("transformers")

pytestmark = pytest.mark.usefixtures("opened_before")
TINY = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 640,
}


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "made_apart", made_facts)


def formula(name: str, method: Any, **given: int) -> str:
    cost = estimate(name, method, **given, convention="exact")
    return format_bytes(cost.activation_bytes)


def sidebar_keys(page: AppTest) -> set[str | None]:
    return {element.key for element in (*page.selectbox, *page.number_input, *page.slider)}


def test_a_link_opens_a_decoder_with_tokens_in_place_of_images() -> None:
    name = keep_configuration(json.dumps(TINY))
    page = opened(model=name, tokens="128", batch_size="4", layers="5", rank="3")
    assert page.selectbox(key="model").value == name
    assert page.number_input(key="tokens").value == 128
    assert not {"image_size", "dataset"} & sidebar_keys(page)
    given = {"layers": 5, "batch_size": 4, "tokens": 128}
    shown = kept(page)
    assert shown["Vanilla"] == formula(name, Vanilla(), **given)
    assert shown["ASI"] == formula(name, ASI(ranks=3), **given)
    answer = texts(page.markdown)
    assert f"ASI keeps {shown['ASI']} where vanilla keeps {shown['Vanilla']}" in answer
    assert "new classifier" not in texts(page.caption)
    assert next(b for b in page.button if b.label == "Train this").disabled
    assert "huggingface_trainer.py" in texts(page.caption)


def test_a_decoders_step_is_not_computed_and_the_page_says_so() -> None:
    page = opened("step", model=keep_configuration(json.dumps(TINY)))
    assert "Explore estimates what it keeps" in texts(page.info)
    assert not page.metric


def test_the_box_for_tokens_changes_the_numbers() -> None:
    name = keep_configuration(json.dumps(TINY))
    page = opened(model=name, batch_size="4", layers="5")
    assert page.number_input(key="tokens").value == 512
    # Of the whole page: moving the box reruns the figures alone.
    page.session_state["tokens"] = 64
    page.run()
    given = {"layers": 5, "batch_size": 4, "tokens": 64}
    assert kept(page)["Vanilla"] == formula(name, Vanilla(), **given)


def test_ranks_per_mode_are_of_batch_tokens_and_features() -> None:
    name = keep_configuration(json.dumps(TINY))
    page = opened(model=name, ranks_from="Ranks per mode")
    ranks = {key for key in sidebar_keys(page) if str(key).startswith("rank_")}
    assert ranks == {"rank_batch", "rank_tokens", "rank_features"}
    assert page.selectbox(key="ranks_from").options == ["One rank", "Ranks per mode"]


def test_a_pasted_configuration_is_chosen_and_what_is_none_is_refused() -> None:
    page = opened()
    page.text_area(key="configuration-text").set_value('{"model_type": 3}')
    page.button(key="configuration-use").click().run()
    assert "must name its architecture" in texts(page.error)
    page.text_area(key="configuration-text").set_value(json.dumps(TINY))
    page.button(key="configuration-use").click().run()
    assert not page.exception
    chosen = page.selectbox(key="model").value
    assert title_of(chosen).startswith("llama decoder")
    assert "14 linear layers" in texts(page.success)
    assert kept(page)["Vanilla"]


def test_the_train_page_says_what_works_instead() -> None:
    name = keep_configuration(json.dumps(TINY))
    page = opened("train", model=name)
    assert "in your own loop as in examples/huggingface_trainer.py" in texts(page.error)


def test_without_transformers_the_page_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "_version", lambda library: None)
    page = opened(model=EXAMPLE)
    assert "pip install" in texts(page.error)
