"""plotly.js on its way to the browser: asked for with the page itself, and compressed once.

It is the largest thing that a first visitor waits for, 4.7 MB. Left alone, the browser learns of it
when the page's first chart is drawn, and the server compresses it anew for every visitor.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from streamlit import config

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

# Where the live chart looks for it (`live_chart_assets/library.js`).
PATH = "/_stcore/bidi-components/asi_lab.plotly_js/plotly.min.js"
_PAGE, _LEVEL = b"text/html", 6


class PlotlyJs:
    """A layer around the app (ASGI): answers for plotly.js, and has pages announce it."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
        elif str(scope["path"]).endswith(PATH) and _accepts_gzip(scope):
            await _answer(scope, send)
        else:
            await self._app(scope, receive, _announcing(send))


@lru_cache(maxsize=1)
def compressed() -> tuple[bytes, bytes]:
    """The installed plotly.js as gzip, and its entity tag."""
    script = files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    return gzip.compress(script, _LEVEL, mtime=0), b'"%s"' % hashlib.sha256(
        script
    ).hexdigest().encode()


def _accepts_gzip(scope: Message) -> bool:
    return b"gzip" in _header(scope, b"accept-encoding")


async def _answer(scope: Message, send: Send) -> None:
    body, tag = compressed()
    is_known = _header(scope, b"if-none-match") == tag
    headers = [
        (b"content-type", b"text/javascript"),
        (b"vary", b"accept-encoding"),
        (b"etag", tag),
        # Asked for again after an update of plotly, and then mostly answered by the tag alone.
        (b"cache-control", b"public, max-age=3600"),
    ]
    if not is_known:
        headers += [
            (b"content-encoding", b"gzip"),
            (b"content-length", str(len(body)).encode()),
        ]
    await send(
        {"type": "http.response.start", "status": 304 if is_known else 200, "headers": headers}
    )
    await send({"type": "http.response.body", "body": b"" if is_known else body})


def _announcing(send: Send) -> Send:
    """`send`, with a header that has the browser fetch plotly.js while it reads the page."""
    base = str(config.get_option("server.baseUrlPath") or "").strip("/")
    link = f"<{'/' + base if base else ''}{PATH}>; rel=preload; as=script".encode()

    async def announce(message: Message) -> None:
        if message["type"] == "http.response.start" and _is_page(message):
            message = {**message, "headers": [*message["headers"], (b"link", link)]}
        await send(message)

    return announce


def _is_page(message: Message) -> bool:
    kind = next((v for name, v in message["headers"] if name.lower() == b"content-type"), b"")
    return message["status"] == 200 and kind.startswith(_PAGE)


def _header(scope: Message, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")
