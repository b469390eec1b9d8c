"""The glossary: its content, and its presence on the pages."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from asi_core.methods import METHODS, register_method
from dashboard import glossary as module
from dashboard.glossary import TERMS, glossary, matching
from tests.plugins import Thinned

ROOT = Path(__file__).parents[2]
# Terms that pages use without explanation.
USED = """
activation, saved for backward, mode, unfolding, singular value, energy, explained variance, rank,
multilinear rank, Tucker form, core, factor, subspace iteration, warm start, HOSVD, ASI, gradient
filter, vanilla, linear probe (head only), trained layers, frozen prefix, MACs, FLOPs, paper
convention, exact convention, gradient error, perplexity, gradient cosine, drift, captured energy,
budget, plan, probe, Pareto front, lean layers, overhead, patch, sweep, comparison, run, seed,
calibration, peak, micro-batch, transient
"""


def draw() -> None:
    from dashboard.glossary import glossary_popover

    glossary_popover()


def test_the_words_of_the_pages_are_explained() -> None:
    known = {term.casefold() for term in glossary()}
    wanted = {" ".join(term.split()).casefold() for term in USED.split(",")}
    assert wanted <= known
    assert {method.label.casefold() for method in METHODS.values()} <= known


def test_terms_are_in_alphabetical_order_and_there_once() -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text())
    (written,) = [node.value for node in tree.body if isinstance(node, ast.AnnAssign)]
    assert isinstance(written, ast.Dict)
    terms = [str(key.value).casefold() for key in written.keys if isinstance(key, ast.Constant)]
    assert terms == sorted(set(terms))
    shown = [term.casefold() for term in glossary()]
    assert shown == sorted(set(shown))
    assert set(terms) < set(shown)


@pytest.mark.parametrize("term", glossary())
def test_an_explanation_is_one_or_two_sentences(term: str) -> None:
    message = glossary()[term]
    assert term[0].isupper() or term[0].isdigit()
    assert message[0].isupper()
    assert message.endswith(".")
    assert 1 <= message.count(". ") + 1 <= 2


@pytest.mark.usefixtures("plugins")
def test_a_registered_method_has_its_entry() -> None:
    assert glossary()["Thinned batch"] == Thinned.described()
    assert list(matching("non-zero elements")) == ["Non-zero input"]


def test_a_term_of_ours_is_not_taken_by_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Thinned, "label", "Rank")
    register_method(Thinned)
    try:
        assert glossary()["Rank"] == TERMS["Rank"]
    finally:
        METHODS.remove(Thinned.class_kind())


def test_search_looks_into_terms_first() -> None:
    found = list(matching("  RANK "))
    assert found[:2] == ["Multilinear rank", "Rank"]
    assert "Explained variance" in found
    assert "Seed" not in found
    assert list(matching("")) == list(glossary())


def test_a_visitor_searches() -> None:
    page = AppTest.from_function(draw).run()
    assert all(f"**{term}**" in page.markdown[0].value for term in glossary())
    page.text_input(key="glossary-search").set_value("perplex").run()
    assert "**Perplexity**" in page.markdown[0].value
    assert "**Seed**" not in page.markdown[0].value
    page.text_input(key="glossary-search").set_value("no such word").run()
    assert "Try a shorter one" in page.caption[0].value
    assert not page.exception


def test_it_is_at_the_foot_of_a_page() -> None:
    st.cache_resource.clear()
    page = AppTest.from_file(str(ROOT / "dashboard" / "main.py"), default_timeout=180).run()
    assert not page.exception
    assert page.text_input(key="glossary-search").value == ""
    st.cache_resource.clear()
