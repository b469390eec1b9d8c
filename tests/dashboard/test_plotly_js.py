"""plotly.js as served: the installed version, preloaded with pages, compressed once."""

from __future__ import annotations

import asyncio
import gzip
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

import pytest

from dashboard.plotly_js import PATH, PlotlyJs

SCRIPT = files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
Headers = dict[bytes, bytes]


async def _app(scope: Any, receive: Any, send: Any) -> None:
    kind = b"text/html; charset=utf-8" if scope["path"] in ("/", "/train") else b"image/png"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": b"from the app"})


def asked(path: str, *, method: str = "GET", **headers: str) -> tuple[int, Headers, bytes]:
    """Status, headers and body of a response."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": given}
    # In another thread: Playwright runs an event loop in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, PlotlyJs(_app)(scope, receive, send)).result()
    start, *bodies = sent
    return start["status"], dict(start["headers"]), b"".join(part["body"] for part in bodies)


def test_it_is_the_installed_library_and_compressed() -> None:
    status, headers, body = asked(PATH, accept_encoding="br, gzip")
    assert status == 200
    assert headers[b"content-encoding"] == b"gzip"
    assert int(headers[b"content-length"]) == len(body) < len(SCRIPT) / 2
    assert gzip.decompress(body) == SCRIPT
    assert asked("/base" + PATH, accept_encoding="gzip")[2] == body


def test_who_has_it_is_reported_that_nothing_changed() -> None:
    _, headers, _ = asked(PATH, accept_encoding="gzip")
    tag = headers[b"etag"].decode()
    status, _, body = asked(PATH, accept_encoding="gzip", if_none_match=tag)
    assert (status, body) == (304, b"")
    assert asked(PATH, accept_encoding="gzip", if_none_match='"older"')[0] == 200


def test_who_takes_no_gzip_is_served_by_streamlit() -> None:
    assert asked(PATH)[2] == b"from the app"


@pytest.mark.parametrize("path", ["/", "/train"])
def test_pages_announce_it(path: str) -> None:
    _, headers, body = asked(path, accept_encoding="gzip")
    assert headers[b"link"] == f"<{PATH}>; rel=preload; as=script".encode()
    assert body == b"from the app"


def test_nothing_else_is_touched() -> None:
    assert b"link" not in asked("/picture.png")[1]
    assert asked(PATH, method="POST", accept_encoding="gzip")[2] == b"from the app"
