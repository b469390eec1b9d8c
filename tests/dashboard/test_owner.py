"""Whose runs they are, with and without a proxy that names visitors."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from asi_core.errors import Unavailable
from dashboard import services

APP = str(Path(__file__).parents[2] / "dashboard" / "main.py")


def named(monkeypatch: pytest.MonkeyPatch, **headers: str) -> None:
    monkeypatch.setattr(st, "context", SimpleNamespace(headers=headers))


def test_without_a_proxy_all_share_one_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASI_USER_HEADER", raising=False)
    named(monkeypatch, Forwarded="somebody")
    assert services.owner() == "local"


def test_the_proxy_names_the_visitor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASI_USER_HEADER", "Forwarded")
    named(monkeypatch, Forwarded="ada@example.org")
    assert services.owner() == "ada@example.org"


def test_a_request_past_the_proxy_sees_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASI_USER_HEADER", "X-Forwarded-Email")
    with pytest.raises(Unavailable, match="X-Forwarded-Email"):
        services.owner()
    page = AppTest.from_file(APP).run()
    assert [error.value for error in page.error] == [
        "The proxy must name the visitor in the header X-Forwarded-Email, and this request has "
        "none: sign in through the proxy's address."
    ]
    assert not page.title
