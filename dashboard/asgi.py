"""Shared parts of the ASGI middleware: types, headers, short responses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

# State key of the connection's peer, as `dashboard.connections` has seen it. Servers overwrite a
# request's client field from headers that anyone can forge.
PEER = "asi_peer"


class Middleware:
    """A layer around the app."""

    def __init__(self, app: Application) -> None:
        self._app = app


def headers_of(scope: Message, name: str) -> list[str]:
    """All values of a request header, in order."""
    wanted = name.lower().encode("latin-1")
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == wanted]


def is_page(message: Message) -> bool:
    """Whether a response start is that of an HTML page."""
    kinds = [value for name, value in message["headers"] if name.lower() == b"content-type"]
    return message["status"] == 200 and any(kind.startswith(b"text/html") for kind in kinds)


def with_headers(send: Send, *headers: Header, only_pages: bool = False) -> Send:
    """`send` that adds headers to responses, or only to those that are HTML pages."""

    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start" and (is_page(message) or not only_pages):
            message = {**message, "headers": [*message["headers"], *headers]}
        await send(message)

    return adding


async def answer(send: Send, status: int, text: str, *further: Header) -> None:
    """Send a complete response of plain text."""
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *further,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
