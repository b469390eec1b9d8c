"""Who is asking: told by a proxy, by sign-on, or by a cookie of the browser's own."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any

import streamlit as st
from starlette.requests import cookie_parser

from asi_core.errors import AsiError, Refused, Unavailable, one_sentence
from asi_core.runs.records import EXAMPLE_OWNER, NOBODY, RunRecord
from asi_core.runs.submit.networks import network_of
from asi_core.settings import read_settings
from dashboard.asgi import Application, Message, Receive, Send

COOKIE = "asi_visitor"
_BROWSER, _SHORT = "visitor-", 18
_YEAR_SECONDS = 365 * 24 * 3600
_LOOPBACK = "127.0.0.1"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_SIGN_IN = "sign in to launch runs and to change what is yours; looking needs no name."


class VisitorCookie:
    """Middleware that gives a browser a secret of its own, by which its runs are known again."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _token_of(_cookies_of(scope)):
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, _giving_a_cookie(scope, send))


def owner() -> str:
    """Whose runs this visitor launches.

    Raises:
        Unavailable: if a proxy was to name the visitor and did not.
        Refused: if visitors sign in here, and this one has not.
    """
    if header := read_settings().user_header:
        return _named_by_proxy(header)
    if _signs_in():
        if not st.user.is_logged_in:
            raise Refused(_SIGN_IN)
        # Some providers let people write any address: only a verified one says who somebody is.
        return str(st.user["email"] if st.user.get("email_verified") is True else st.user["sub"])
    token = _token_of(dict(st.context.cookies))
    # Of the secret, only what nobody can get it back from is shown to others.
    return f"{_BROWSER}{hashlib.sha256(token.encode()).hexdigest()[:32]}" if token else NOBODY[0]


def network() -> str | None:
    """From which network this visitor asks; `Guard` has put the address there."""
    address = st.context.ip_address
    # Streamlit tells of no loopback address, and of none without a browser.
    return network_of(address if isinstance(address, str) else _LOOPBACK)


def short_owner(name: str) -> str:
    """An owner as people are shown it: a browser's name is long, so that nobody can have the same
    by trying."""
    return name[:_SHORT] if name.startswith(_BROWSER) else name


def known_owner() -> str | None:
    """As `owner`, None for a visitor who has not signed in."""
    try:
        return owner()
    except Refused:
        return None


def check_visitor() -> None:
    """Raise `Unavailable` if a proxy was to name the visitor and did not."""
    if header := read_settings().user_header:
        _named_by_proxy(header)


def why_not() -> str | None:
    """Why this visitor may launch and change nothing here, in one sentence; None who may."""
    try:
        read_settings().check_may_change()
        owner()
    except AsiError as error:
        return one_sentence(error)
    return None


def may_change(run: RunRecord) -> bool:
    """Whether this visitor may cancel, name or delete a run."""
    if run.owner == EXAMPLE_OWNER or why_not() is not None:
        return False
    return run.owner in (owner(), *NOBODY)


def sign_in_reason(user: Mapping[str, Any]) -> str | None:
    """Why a visitor may only look, where visitors sign in.

    Args:
        user: what Streamlit knows of a session's visitor.
    """
    if not _signs_in() or user.get("is_logged_in") is True:
        return None
    return _SIGN_IN


def sign_in_button() -> None:
    """Draw the way in, and out again, where visitors sign in."""
    if read_settings().user_header or not _signs_in():
        return
    if st.user.is_logged_in:
        st.button(f"Sign out {owner()}", on_click=st.logout, type="tertiary", key="sign-out")
    else:
        st.button("Sign in", on_click=st.login, type="tertiary", key="sign-in")


def _named_by_proxy(header: str) -> str:
    name = st.context.headers.get(header)
    if not name:
        raise Unavailable(
            f"The proxy must name the visitor in the header {header}, and this request has none: "
            "sign in through the proxy's address."
        )
    return name


def _signs_in() -> bool:
    """Whether Streamlit's own sign-on is set up, in `.streamlit/secrets.toml`."""
    return st.secrets.load_if_toml_exists() and "auth" in st.secrets


def _giving_a_cookie(scope: Message, send: Send) -> Send:
    cookie = f"{COOKIE}={secrets.token_urlsafe(32)}; Path=/; Max-Age={_YEAR_SECONDS}; HttpOnly"
    cookie += "; SameSite=Lax" + ("; Secure" if scope.get("scheme") == "https" else "")

    async def give(message: Message) -> None:
        if message["type"] == "http.response.start" and _is_page(message):
            headers = [*message["headers"], (b"set-cookie", cookie.encode())]
            message = {**message, "headers": headers}
        await send(message)

    return give


def _is_page(message: Message) -> bool:
    kinds = [value for name, value in message["headers"] if name.lower() == b"content-type"]
    return message["status"] == 200 and any(kind.startswith(b"text/html") for kind in kinds)


def _cookies_of(scope: Message) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name.lower() == b"cookie":
            # As browsers and Streamlit do: one odd cookie does not spoil the others.
            found |= cookie_parser(value.decode("latin-1"))
    return found


def _token_of(cookies: dict[str, str]) -> str | None:
    token = cookies.get(COOKIE, "")
    return token if _TOKEN.fullmatch(token) else None
