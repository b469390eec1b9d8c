"""What the layers around the app have in common: types of ASGI, headers, short answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

# The connection's other end, as `dashboard.connections` has seen it: what servers write over a
# request's client is taken from headers that anybody can write.
PEER = "asi_peer"


def headers_of(scope: Message, name: str) -> list[str]:
    """All values of a request header, in order."""
    wanted = name.lower().encode("latin-1")
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == wanted]


async def answer(send: Send, status: int, text: str, *further: Header) -> None:
    """A whole response of plain text."""
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *further,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
