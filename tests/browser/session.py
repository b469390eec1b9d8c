"""A visitor without a browser: a session over the app's websocket, and file uploads."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import uuid4

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from tests.browser.app import Server

_BOUNDARY = "a-boundary-of-this-test"


@dataclass(frozen=True)
class Answer:
    """A server's response, with header names in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True)
class Session:
    """An open session.

    Attributes:
        xsrf: the cookie that allows changes.
    """

    server: Server
    id: str
    xsrf: str

    def send(self, size: int, name: str | None = None, **headers: str) -> Answer:
        """Upload a file of a given size, like the page's own script."""
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n'
            "Content-Type: application/zip\r\n\r\n"
        )
        body = head.encode() + b"x" * size + f"\r\n--{_BOUNDARY}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        return self.ask("PUT", name or uuid4().hex, body, kind | headers)

    def ask(self, method: str, file: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Send a request about a file."""
        own = {"Cookie": f"_streamlit_xsrf={self.xsrf}", "X-Xsrftoken": self.xsrf}
        path = f"/_stcore/upload_file/{self.id}/{file}"
        return ask(self.server, path, method, body, own | dict(headers))


def ask(
    server: Server,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request on a new connection."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        message = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, message, answer.read().decode(errors="replace"))
    finally:
        connection.close()


@contextmanager
def session(server: Server, **headers: str) -> Iterator[Session]:
    """A session whose page has started to be drawn."""
    cookie = ask(server, "/_stcore/health").headers["set-cookie"]
    xsrf = cookie.split("_streamlit_xsrf=")[1].split(";")[0]
    url = f"{server.url.replace('http', 'ws')}/_stcore/stream"
    with connect(url, additional_headers=headers, max_size=None, max_queue=None) as socket:
        for message in _run(socket, page=""):
            if message.WhichOneof("type") == "new_session":
                break
        yield Session(server, message.new_session.initialize.session_id, xsrf)


def drawn(server: Server, page: str) -> list[Element]:
    """The elements of a page that the server sends, in their order."""
    url = f"{server.url.replace('http', 'ws')}/_stcore/stream"
    with connect(url, max_size=None, max_queue=None) as socket:
        deltas = [m.delta for m in _run(socket, page) if m.WhichOneof("type") == "delta"]
    return [delta.new_element for delta in deltas if delta.WhichOneof("type") == "new_element"]


def _run(socket: ClientConnection, page: str) -> Iterator[ForwardMsg]:
    """Request a page; the messages until it is complete."""
    asked = BackMsg()
    asked.rerun_script.page_name = page
    socket.send(asked.SerializeToString())
    message = ForwardMsg()
    while message.WhichOneof("type") != "script_finished":
        message = ForwardMsg.FromString(bytes(socket.recv(timeout=60)))  # type: ignore[arg-type]
        yield message
