"""Owners of runs by proxy, sign-on or cookie, and their permissions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from asi_core.errors import Refused, Unavailable
from asi_core.runs.records import EXAMPLE_OWNER, RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.training.spec import RunSpec
from dashboard import visitor

APP = str(Path(__file__).parents[2] / "dashboard" / "main.py")
TOKENS = "a" * 43, "b" * 43


def visits(
    monkeypatch: pytest.MonkeyPatch,
    headers: Mapping[str, str] | None = None,
    cookies: Mapping[str, str] | None = None,
) -> None:
    context = SimpleNamespace(headers=headers or {}, cookies=cookies or {})
    monkeypatch.setattr(st, "context", context)


def signs_in(monkeypatch: pytest.MonkeyPatch, **user: Any) -> None:
    class User(dict[str, Any]):
        is_logged_in = bool(user)

    secrets = SimpleNamespace(
        load_if_toml_exists=lambda: True, __contains__=lambda self, name: True
    )
    monkeypatch.setattr(visitor, "_signs_in", lambda: True)
    monkeypatch.setattr(st, "secrets", secrets)
    monkeypatch.setattr(st, "user", User(user))


def run_of(owner: str, tmp_path: Path) -> RunRecord:
    store = RunStore(f"sqlite:///{tmp_path / 'asi.sqlite'}")
    (run,) = store.create([RunSpec.model_validate({"method": {"kind": "vanilla"}})], owner)
    return run


def test_without_any_name_all_share_one_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    visits(monkeypatch, {"Forwarded": "somebody"})
    assert visitor.owner() == "local"


def test_a_browser_is_known_again_by_its_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = []
    for token in (TOKENS[0], TOKENS[0], TOKENS[1]):
        visits(monkeypatch, cookies={visitor.COOKIE: token})
        owners.append(visitor.owner())
    assert owners[0] == owners[1] != owners[2]
    assert TOKENS[0][:8] not in owners[0], "the secret is not shown to others"


@pytest.mark.parametrize("token", ["", "short", "x" * 44, "<script>" + "a" * 35])
def test_what_is_no_token_names_nobody(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    visits(monkeypatch, cookies={visitor.COOKIE: token})
    assert visitor.owner() == "local"


def test_the_proxy_names_the_visitor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASI_USER_HEADER", "Forwarded")
    visits(monkeypatch, {"Forwarded": "ada@example.org"}, {visitor.COOKIE: TOKENS[0]})
    assert visitor.owner() == "ada@example.org"


def test_a_request_past_the_proxy_sees_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASI_USER_HEADER", "X-Forwarded-Email")
    with pytest.raises(Unavailable, match="X-Forwarded-Email"):
        visitor.owner()
    page = AppTest.from_file(APP).run()
    assert [error.value for error in page.error] == [
        "The proxy must name the visitor in the header X-Forwarded-Email, and this request has "
        "none: sign in through the proxy's address."
    ]
    assert not page.title


def test_where_visitors_sign_in_others_only_look(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    visits(monkeypatch, cookies={visitor.COOKIE: TOKENS[0]})
    signs_in(monkeypatch)
    with pytest.raises(Refused, match="sign in to launch runs"):
        visitor.owner()
    assert visitor.known_owner() is None
    assert "sign in" in str(visitor.why_not())
    assert not visitor.may_change(run_of("ada@example.org", tmp_path))


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ({"sub": "123", "email": "ada@example.org", "email_verified": True}, "ada@example.org"),
        ({"sub": "123", "email": "ada@example.org", "email_verified": False}, "123"),
        ({"sub": "123", "email": "ada@example.org"}, "123"),
        ({"sub": "123"}, "123"),
    ],
)
def test_sign_on_names_the_visitor(
    monkeypatch: pytest.MonkeyPatch, user: dict[str, Any], name: str
) -> None:
    visits(monkeypatch, cookies={visitor.COOKIE: TOKENS[0]})
    signs_in(monkeypatch, **user)
    assert visitor.owner() == name
    assert visitor.why_not() is None


@pytest.mark.parametrize(
    ("owner", "allowed"),
    [
        ("me", True),
        ("local", True),
        ("command line", True),
        ("they", False),
        (EXAMPLE_OWNER, False),
    ],
)
def test_only_one_s_own_runs_and_those_of_nobody_are_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, owner: str, allowed: bool
) -> None:
    monkeypatch.setenv("ASI_USER_HEADER", "Forwarded")
    visits(monkeypatch, {"Forwarded": "me"})
    assert visitor.may_change(run_of(owner, tmp_path)) is allowed
    monkeypatch.setenv("ASI_READ_ONLY", "1")
    assert not visitor.may_change(run_of(owner, tmp_path))
    assert "read-only" in str(visitor.why_not())


async def page(scope: Any, receive: Any, send: Any) -> None:
    kind = b"text/html; charset=utf-8" if scope["path"] == "/" else b"text/javascript"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": b"page"})


def cookies_given(path: str = "/", cookie: bytes | None = None, **scope: Any) -> list[str]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {}

    headers = [] if cookie is None else [(b"cookie", cookie)]
    asked = {"type": "http", "path": path, "headers": headers, "scheme": "http", **scope}
    asyncio.run(visitor.VisitorCookie(page)(asked, receive, send))
    return [v.decode() for name, v in sent[0]["headers"] if name == b"set-cookie"]


def test_a_new_browser_is_given_a_secret_that_scripts_cannot_read() -> None:
    (first,), (second,) = cookies_given(), cookies_given()
    assert first != second
    for part in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="):
        assert part in first
    assert "Secure" not in first
    assert "Secure" in cookies_given(scheme="https")[0]
    token = first.removeprefix(f"{visitor.COOKIE}=").split(";")[0]
    assert len(token) == 43


def test_a_known_browser_and_files_get_none() -> None:
    known = f"other=1; {visitor.COOKIE}={TOKENS[0]}".encode()
    assert cookies_given(cookie=known) == []
    odd = b'prefs={"a": 1}; flag; '
    assert cookies_given(cookie=odd + known) == [], "others' cookies take no visitor's away"
    assert cookies_given(path="/plotly.js") == []
    assert len(cookies_given(cookie=f"{visitor.COOKIE}=forged".encode())) == 1
    assert len(cookies_given(cookie=b"\xff;=;broken")) == 1
