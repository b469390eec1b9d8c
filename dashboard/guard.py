"""The outermost layer around the app (ASGI): what is let in at all, and how long it may take."""

from __future__ import annotations

import asyncio
import logging
import time

from asi_core.settings import read_settings
from dashboard import hosts
from dashboard.asgi import PEER, Application, Header, Message, Receive, Send, answer, headers_of

log = logging.getLogger(__name__)

# Of Streamlit's own addresses, those that its pages ask for and the one that tells whether the
# server answers. The others tell strangers of the server, or run pages for them.
_STREAMLIT = "/_stcore/"
_OPEN = {"bidi-components", "health", "host-config", "stream", "upload_file"}
# Others' pages must not show this one inside themselves: a visitor would click on what is hidden.
_FRAMES: tuple[Header, ...] = (
    (b"content-security-policy", b"frame-ancestors 'self'"),
    (b"x-frame-options", b"SAMEORIGIN"),
)
# The whole of a request's body may take so many times as long as it may pause.
_PAUSES = 30
_MOST_WARNINGS = 20


class BodyTooSlowError(Exception):
    """A request's body was not here in time."""


class Guard:
    """Refuses foreign hosts and closed addresses, forbids foreign frames, and bounds the time of
    request bodies. It also puts the visitor's own network address in a request's client."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._warned: set[str] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http":
            send = _framed(send)
        if (refusal := self._refusal(scope)) is not None:
            await _refuse(scope, send, *refusal)
            return
        scope = {**scope, "client": _client(scope)}
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._timed(scope, receive, send)

    def _refusal(self, scope: Message) -> tuple[int, str] | None:
        """Why a request is not let in, if it is not: a status and a sentence."""
        for host in headers_of(scope, "host"):
            if not hosts.is_allowed(host):
                self._warn(host)
                return 400, (
                    "This server does not go by the name that the address has: whoever runs it "
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
            late = "The request was not here in time.\n"
            await answer(send, 408, late, (b"connection", b"close"))

    def _warn(self, host: str) -> None:
        """Tell whoever runs the server, once a name."""
        if host not in self._warned and len(self._warned) < _MOST_WARNINGS:
            self._warned.add(host)
            log.warning("refused a request for the host %.200r (ASI_ALLOWED_HOSTS)", host)


async def _refuse(scope: Message, send: Send, status: int, text: str) -> None:
    if scope["type"] == "websocket":
        # Before it is accepted: the handshake is then answered with 403.
        await send({"type": "websocket.close", "code": 1008})
    else:
        await answer(send, status, text)


def _client(scope: Message) -> tuple[str, int] | None:
    """The visitor's network address: as the proxy names it, or the connection's other end."""
    header = read_settings().address_header
    if header:
        # Each proxy adds the address that it sees at the end; what is before it, anybody can write.
        named = [value for value in headers_of(scope, header) if value]
        last = named[-1].rpartition(",")[2].strip() if named else ""
        return (hosts.host_name(last) or last, 0) if last else None
    peer: tuple[str, int] | None = scope.get("state", {}).get(PEER, scope.get("client"))
    return peer


def _framed(send: Send) -> Send:
    async def framed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *_FRAMES]}
        await send(message)

    return framed


def _within_time(receive: Receive) -> Receive:
    """`receive`, until the body is complete for a limited time.

    Raises:
        BodyTooSlowError: if it pauses for longer than `request_seconds`, or takes too long in all.
    """
    pause = read_settings().request_seconds
    end, is_complete = time.monotonic() + _PAUSES * pause, False

    async def within_time() -> Message:
        nonlocal is_complete
        if is_complete:
            # What comes now is that the visitor has left.
            return await receive()
        try:
            async with asyncio.timeout(min(pause, end - time.monotonic())):
                message = await receive()
        except TimeoutError:
            raise BodyTooSlowError from None
        is_complete = not message.get("more_body", False)
        return message

    return within_time
