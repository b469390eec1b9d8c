"""plotly.js, preloaded with the page and compressed once.

At 4.7 MB it is the largest file that a first visitor waits for. Otherwise the browser would request
it when the page's first chart is drawn, and the server would compress it again for every visitor.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from importlib.resources import files

from streamlit import config

from dashboard.asgi import Message, Middleware, Receive, Send, with_headers

# The address from which `live_chart_assets/library.js` loads it.
PATH = "/_stcore/bidi-components/asi_lab.plotly_js/plotly.min.js"
_LEVEL = 6


class PlotlyJs(Middleware):
    """ASGI middleware that serves plotly.js, and has pages preload it."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
        elif str(scope["path"]).endswith(PATH) and b"gzip" in _header(scope, b"accept-encoding"):
            await _answer(scope, send)
        else:
            base = str(config.get_option("server.baseUrlPath") or "").strip("/")
            link = f"<{'/' + base if base else ''}{PATH}>; rel=preload; as=script".encode()
            await self._app(scope, receive, with_headers(send, (b"link", link), only_pages=True))


@lru_cache(maxsize=1)
def compressed() -> tuple[bytes, bytes]:
    """The installed plotly.js as gzip, and its entity tag."""
    script = files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    tag = f'"{hashlib.sha256(script).hexdigest()}"'.encode()
    return gzip.compress(script, _LEVEL, mtime=0), tag


async def _answer(scope: Message, send: Send) -> None:
    body, tag = compressed()
    is_known = _header(scope, b"if-none-match") == tag
    headers = [
        (b"content-type", b"text/javascript"),
        (b"vary", b"accept-encoding"),
        (b"etag", tag),
        # Revalidated every hour, because plotly may be updated.
        (b"cache-control", b"public, max-age=3600"),
    ]
    if not is_known:
        headers += [(b"content-encoding", b"gzip"), (b"content-length", str(len(body)).encode())]
    await send(
        {"type": "http.response.start", "status": 304 if is_known else 200, "headers": headers}
    )
    await send({"type": "http.response.body", "body": b"" if is_known else body})


def _header(scope: Message, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")
