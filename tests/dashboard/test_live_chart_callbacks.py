"""What a browser says of a chart that is no longer there."""

from __future__ import annotations

from typing import Any

import pytest
import streamlit as st

from dashboard.live_chart import _tell


def test_a_message_of_a_chart_whose_page_was_left_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(st, "session_state", {"here": {"drawn": "token"}})
    heard: list[Any] = []
    _tell("gone", "drawn", heard.append)
    assert heard == []
    _tell("here", "drawn", heard.append)
    assert heard == ["token"]
