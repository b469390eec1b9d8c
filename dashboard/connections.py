"""A time limit for request headers: uvicorn itself waits for them without end."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from asi_core.settings import read_settings
from dashboard.asgi import PEER, Message, Middleware, Receive, Send

log = logging.getLogger(__name__)

_WANTED_DESCRIPTORS = 65_536
# Connections without a request may hold one descriptor in this many.
_WAITING_SHARE = 4


class DropHalfOpen(Middleware):
    """ASGI middleware that makes uvicorn drop connections on which no request arrives.

    uvicorn has no setting for this: before it listens, its protocol class is replaced by a
    subclass.
    """

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            _watch(getattr(getattr(receive, "__self__", None), "config", None))
        await self._app(scope, receive, send)


def raise_descriptor_limit() -> int:
    """Raise this process's limit of file descriptors, of which a session takes about four, as far
    as the system allows; return the limit."""
    try:
        import resource
    except ImportError:
        # Windows.
        return _WANTED_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (
        _WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _WANTED_DESCRIPTORS)
    )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def watching(base: type[Any], seconds: float, most: int) -> type[Any]:
    """A subclass of a uvicorn protocol that drops connections on which no request arrives.

    Args:
        base: the protocol class.
        seconds: time limit for a request's header.
        most: how many connections may wait for a request; beyond that, the oldest is dropped.
    """
    # Oldest first.
    waiting: dict[Any, asyncio.TimerHandle] = {}

    class Watched(base):  # type: ignore[misc]
        app_state: dict[str, Any]

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            _drop_deaf(transport, seconds)
            self.app_state = {**self.app_state, PEER: self.client}
            self._await_request()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._is_asked():
                self._await_nothing()

        def on_response_complete(self) -> None:
            # Before buffered data is processed, which may hold the next request.
            self._await_request()
            super().on_response_complete()
            if self._is_asked():
                self._await_nothing()

        def handle_websocket_upgrade(self, *arguments: Any) -> None:
            self._await_nothing()
            super().handle_websocket_upgrade(*arguments)

        def connection_lost(self, error: Exception | None) -> None:
            self._await_nothing()
            super().connection_lost(error)

        def _is_asked(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _await_request(self) -> None:
            self._await_nothing()
            if self.transport.is_closing():
                return
            if len(waiting) >= most:
                next(iter(waiting))._drop()
            waiting[self] = self.loop.call_later(seconds, self._drop)

        def _await_nothing(self) -> None:
            if (timer := waiting.pop(self, None)) is not None:
                timer.cancel()

        def _drop(self) -> None:
            self._await_nothing()
            self.transport.abort()

    return Watched


def _watch(config: Any) -> None:
    base = getattr(config, "http_protocol_class", None)
    if base is None:
        log.warning("half-open connections are not dropped: the server is not uvicorn")
        return
    most = max(1, raise_descriptor_limit() // _WAITING_SHARE)
    config.http_protocol_class = watching(base, read_settings().request_seconds, most)


def _drop_deaf(transport: asyncio.Transport, seconds: float) -> None:
    """Have the system close a connection whose peer does not accept the response."""
    option: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
    plain = transport.get_extra_info("socket")
    if option is not None and plain is not None and plain.family != getattr(socket, "AF_UNIX", 0):
        plain.setsockopt(socket.IPPROTO_TCP, option, int(3 * seconds * 1000))
