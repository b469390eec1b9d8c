"""ASGI middleware that checks hosts and paths of requests, and limits the time of their bodies."""

from __future__ import annotations

import asyncio
import logging
import time

from asi_core.settings import read_settings
from dashboard import hosts
from dashboard.asgi import (
    PEER,
    Application,
    Header,
    Message,
    Middleware,
    Receive,
    Send,
    answer,
    headers_of,
    with_headers,
)

log = logging.getLogger(__name__)

# Of Streamlit's own endpoints, those that its pages use and the health check. The others expose
# information about the server, or run pages for strangers.
_STREAMLIT = "/_stcore/"
_OPEN = {"bidi-components", "health", "host-config", "stream", "upload_file"}
# Other sites must not embed this page: a visitor could be made to click on hidden parts of it.
_FRAMES: tuple[Header, ...] = (
    (b"content-security-policy", b"frame-ancestors 'self'"),
    (b"x-frame-options", b"SAMEORIGIN"),
)
# A request's whole body may take this many times the longest pause.
_PAUSES = 30
_MOST_WARNINGS = 20


class BodyTooSlowError(Exception):
    """A request's body did not arrive in time."""


class Guard(Middleware):
    """Refuses unknown hosts and closed paths, forbids embedding, and limits the time of request
    bodies. It also puts the visitor's network address into the request's client field."""

    def __init__(self, app: Application) -> None:
        super().__init__(app)
        self._warned: set[str] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http":
            send = with_headers(send, *_FRAMES)
        if (refusal := self._refusal(scope)) is not None:
            await _refuse(scope, send, *refusal)
            return
        scope = {**scope, "client": _client(scope)}
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._timed(scope, receive, send)

    def _refusal(self, scope: Message) -> tuple[int, str] | None:
        """The status and message with which to refuse a request; None to accept it."""
        for host in headers_of(scope, "host"):
            if not hosts.is_allowed(host):
                self._warn(host)
                return 400, (
                    "This server does not accept the host name in the address: its administrator "
                    "can add the name to ASI_ALLOWED_HOSTS.\n"
                )
        _, is_streamlit, rest = str(scope["path"]).partition(_STREAMLIT)
        if is_streamlit and rest.split("/")[0] not in _OPEN:
            return 404, "Not Found\n"
        return None

    async def _timed(self, scope: Message, receive: Receive, send: Send) -> None:
        has_begun = False

        async def noting(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, _within_time(receive), noting)
        except BodyTooSlowError:
            if has_begun:
                raise
            late = "The request did not arrive in time.\n"
            await answer(send, 408, late, (b"connection", b"close"))

    def _warn(self, host: str) -> None:
        """Log a refused host name, once per name."""
        if host not in self._warned and len(self._warned) < _MOST_WARNINGS:
            self._warned.add(host)
            log.warning("refused a request for the host %.200r (ASI_ALLOWED_HOSTS)", host)


async def _refuse(scope: Message, send: Send, status: int, text: str) -> None:
    if scope["type"] == "websocket":
        # Closed before it is accepted: the handshake is then answered with 403.
        await send({"type": "websocket.close", "code": 1008})
    else:
        await answer(send, status, text)


def _client(scope: Message) -> tuple[str, int] | None:
    """The visitor's network address: from the proxy's header, or the connection's peer."""
    header = read_settings().address_header
    if header:
        # Each proxy appends the address that it sees; clients can forge everything before it.
        named = [value for value in headers_of(scope, header) if value]
        last = named[-1].rpartition(",")[2].strip() if named else ""
        return (hosts.host_name(last) or last, 0) if last else None
    peer: tuple[str, int] | None = scope.get("state", {}).get(PEER, scope.get("client"))
    return peer


def _within_time(receive: Receive) -> Receive:
    """`receive`, raising `BodyTooSlowError` if the body pauses for longer than `request_seconds`
    or takes too long in all."""
    pause = read_settings().request_seconds
    end, is_complete = time.monotonic() + _PAUSES * pause, False

    async def within_time() -> Message:
        nonlocal is_complete
        if is_complete:
            # After the body only a disconnect follows.
            return await receive()
        try:
            async with asyncio.timeout(min(pause, end - time.monotonic())):
                message = await receive()
        except TimeoutError:
            raise BodyTooSlowError from None
        is_complete = not message.get("more_body", False)
        return message

    return within_time
