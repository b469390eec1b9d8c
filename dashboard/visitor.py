"""The visitor's identity: from a proxy's header, from sign-on, or from a browser cookie."""

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
from dashboard.asgi import Message, Middleware, Receive, Send, with_headers

COOKIE = "asi_visitor"
_BROWSER, _SHORT = "visitor-", 18
_YEAR_SECONDS = 365 * 24 * 3600
_LOOPBACK = "127.0.0.1"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_SIGN_IN = "sign in to launch runs and to change your own; viewing needs no sign-in."


class VisitorCookie(Middleware):
    """ASGI middleware that gives each browser a secret cookie, which identifies its runs."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _token_of(_cookies_of(scope)):
            await self._app(scope, receive, send)
        else:
            secure = "; Secure" if scope.get("scheme") == "https" else ""
            cookie = (
                f"{COOKIE}={secrets.token_urlsafe(32)}; Path=/; Max-Age={_YEAR_SECONDS}; HttpOnly; "
                f"SameSite=Lax{secure}"
            )
            header = (b"set-cookie", cookie.encode())
            await self._app(scope, receive, with_headers(send, header, only_pages=True))


def owner() -> str:
    """The owner name of runs that this visitor launches.

    Raises:
        Unavailable: if a proxy should name the visitor and did not.
        Refused: if sign-in is required, and the visitor has not signed in.
    """
    if header := read_settings().user_header:
        return _named_by_proxy(header)
    if _signs_in():
        if not st.user.is_logged_in:
            raise Refused(_SIGN_IN)
        # Some providers let users enter any address: only a verified one identifies them.
        return str(st.user["email"] if st.user.get("email_verified") is True else st.user["sub"])
    token = _token_of(dict(st.context.cookies))
    # Others see only a hash of the secret.
    return f"{_BROWSER}{hashlib.sha256(token.encode()).hexdigest()[:32]}" if token else NOBODY[0]


def browser_secret() -> str | None:
    """What identifies this browser and is in no table; None if it takes no cookies."""
    return _token_of(dict(st.context.cookies))


def network() -> str | None:
    """The visitor's network; `Guard` has set the address."""
    address = st.context.ip_address
    # Streamlit gives no loopback address, and none without a browser.
    return network_of(address if isinstance(address, str) else _LOOPBACK)


def short_owner(name: str) -> str:
    """An owner name for display; that of a browser is long, so that it cannot be guessed."""
    return name[:_SHORT] if name.startswith(_BROWSER) else name


def known_owner() -> str | None:
    """`owner()`; None for a visitor who has not signed in."""
    try:
        return owner()
    except Refused:
        return None


def check_visitor() -> None:
    """Raise `Unavailable` if a proxy should name the visitor and did not."""
    if header := read_settings().user_header:
        _named_by_proxy(header)


def why_not() -> str | None:
    """Why this visitor has no write access, in one sentence; None if they have."""
    try:
        read_settings().check_may_change()
        owner()
    except AsiError as error:
        return one_sentence(error)
    return None


def may_change(run: RunRecord) -> bool:
    """Whether this visitor may cancel, rename or delete a run."""
    if run.owner == EXAMPLE_OWNER or why_not() is not None:
        return False
    return run.owner in (owner(), *NOBODY)


def sign_in_reason(user: Mapping[str, Any]) -> str | None:
    """Why a visitor with this user information has read access only, if sign-in is required."""
    if not _signs_in() or user.get("is_logged_in") is True:
        return None
    return _SIGN_IN


def sign_in_button() -> None:
    """Draw the button to sign in or out, if sign-in is set up."""
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


def _cookies_of(scope: Message) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name.lower() == b"cookie":
            # Like browsers and Streamlit: one malformed cookie does not invalidate the others.
            found |= cookie_parser(value.decode("latin-1"))
    return found


def _token_of(cookies: dict[str, str]) -> str | None:
    token = cookies.get(COOKIE, "")
    return token if _TOKEN.fullmatch(token) else None
