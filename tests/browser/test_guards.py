"""Limits of the real server: hosts, frames, files, slow requests."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from asi_core.units import MIB
from tests.browser.app import Server, running_app
from tests.browser.session import ask, session
from tests.waiting import wait_for

SECONDS = 1.0
PAGE = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
CLOSED = ("metrics", "script-health-check", "agent/interact", "agent/openapi.json", "agent/mcp")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An app with small limits and additional host names."""
    limits = {
        "ASI_REQUEST_SECONDS": str(SECONDS),
        "ASI_ALLOWED_HOSTS": "lab.example.org, *.uni.example",
        "ASI_MAX_SESSION_FILES": "4",
        "ASI_MAX_SESSION_BYTES": str(5 * MIB),
    }
    with running_app(tmp_path_factory.mktemp("home"), **limits) as app:
        yield app


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An app behind a proxy, which names visitors and their addresses."""
    settings = {
        "ASI_USER_HEADER": "X-Forwarded-Email",
        "ASI_ADDRESS_HEADER": "X-Real-Ip",
        "ASI_MAX_HELD_BYTES": str(12 * MIB),
    }
    with running_app(tmp_path_factory.mktemp("home"), **settings) as app:
        yield app


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("127.0.0.1", True),
        ("localhost:1234", True),
        ("[::1]:80", True),
        ("192.0.2.7:8501", True),
        ("lab.example.org", True),
        ("LAB.example.org.:443", True),
        ("students.uni.example", True),
        ("uni.example", False),
        ("evil.example", False),
        ("lab.example.org.evil.example", False),
        ("localhost.evil.example", False),
        ("evil.example@localhost", False),
        ("localhost:port", False),
        ("", False),
    ],
)
def test_only_its_own_names_lead_to_the_server(guarded: Server, host: str, is_own: bool) -> None:
    for path in ("/", "/_stcore/health", "/_stcore/upload_file/a/b"):
        method = "PUT" if "upload" in path else "GET"
        found = ask(guarded, path, method, headers={"Host": host})
        assert (found.status == 400 and "ASI_ALLOWED_HOSTS" in found.text) is not is_own
    # A page under the foreign name opens the websocket like the server's own page.
    asked = (
        f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n\r\n"
    )
    with opened(guarded, asked.encode()) as plain:
        said = plain.recv(1000)
    assert said.startswith(b"HTTP/1.1 101" if is_own else b"HTTP/1.1 403")


@pytest.mark.parametrize("path", ["/", "/train", "/_stcore/health", "/_stcore/metrics", "/none.js"])
def test_others_pages_do_not_show_this_one_inside(guarded: Server, path: str) -> None:
    headers = ask(guarded, path).headers
    assert headers["content-security-policy"] == "frame-ancestors 'self'"
    assert headers["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_what_no_page_needs_is_closed(guarded: Server, path: str, method: str) -> None:
    found = ask(guarded, f"/_stcore/{path}", method)
    assert (found.status, found.text) == (404, "Not Found\n")
    assert ask(guarded, "/_stcore/health").text == "ok"


def test_what_a_window_makes_the_server_hold_is_bounded(guarded: Server) -> None:
    with session(guarded) as mine:
        answers = [mine.send(1000).status for _ in range(40)]
        assert answers == [204] * 4 + [413] * 36
        assert "4 files are held for one window" in mine.send(10).text
    with session(guarded) as mine:
        # In parallel, so that no file is held when the others are accepted.
        with ThreadPoolExecutor(4) as threads:
            statuses = list(threads.map(lambda _: mine.send(2 * MIB).status, range(4)))
        assert sorted(statuses) == [204, 204, 413, 413]


def test_room_comes_back_when_a_file_is_taken_back(guarded: Server) -> None:
    with session(guarded) as mine:
        assert mine.send(4 * MIB, "first").status == 204
        assert mine.send(4 * MIB, "second").status == 413
        assert mine.ask("DELETE", "first", None, {}).status == 204
        assert mine.send(4 * MIB, "second").status == 204


def test_one_address_does_not_fill_the_room_of_all(proxied: Server) -> None:
    email = "X-Forwarded-Email"
    with ExitStack() as windows:

        def hold(address: str, size: int) -> int:
            mine = windows.enter_context(session(proxied, **{email: "ada@example.org"}))
            named = {email: "ada@example.org", "X-Real-Ip": address, "X-Forwarded-For": mine.id}
            return mine.send(size, **named).status

        # Half of 12 MiB for each; values before the proxy's own do not count.
        assert hold("203.0.113.1", 4 * MIB) == 204
        assert hold("1.1.1.1, 203.0.113.1", 4 * MIB) == 413
        assert hold("203.0.113.2", 4 * MIB) == 204
        assert hold("203.0.113.3", 3 * MIB) == 204
        assert hold("203.0.113.4", 4 * MIB) == 413, "all that is held together"


def test_a_file_without_a_length_is_refused(guarded: Server) -> None:
    with session(guarded) as mine:
        pieces: dict[str, str] = {"Transfer-Encoding": "chunked"}
        assert mine.ask("PUT", "a", b"0\r\n\r\n", pieces).status == 411


def test_where_visitors_only_look_nobody_sends_files(tmp_path: Path) -> None:
    with running_app(tmp_path, ASI_READ_ONLY="1") as app, session(app) as mine:
        found = mine.send(1000)
        assert found.status == 403
        assert "read-only" in found.text
        assert mine.ask("DELETE", "a", None, {}).status == 403


def test_past_the_proxy_nobody_sends_files(proxied: Server) -> None:
    named = {"X-Forwarded-Email": "ada@example.org"}
    with session(proxied, **named) as mine:
        assert mine.send(1000).status == 403
        assert mine.send(1000, **{"X-Forwarded-Email": ""}).status == 403
        assert mine.send(1000, **named).status == 204


def opened(server: Server, *parts: bytes) -> socket.socket:
    """A connection on which these bytes have been sent."""
    where = urlsplit(server.url)
    plain = socket.create_connection((where.hostname, where.port), timeout=20)
    for part in parts:
        plain.sendall(part)
    return plain


def closed_after(plain: socket.socket, drip: bytes = b"") -> tuple[float, bytes]:
    """Seconds until the server closes a connection, to which a byte is sent again and again; and
    what it said."""
    begun, said = time.monotonic(), b""
    plain.settimeout(SECONDS / 10)
    while time.monotonic() < begun + 20 * SECONDS:
        try:
            if drip:
                plain.sendall(drip)
            if not (got := plain.recv(65536)):
                return time.monotonic() - begun, said
            said += got
        except TimeoutError:
            continue
        except OSError:
            return time.monotonic() - begun, said
    raise AssertionError("the connection stays open")


@pytest.mark.parametrize(
    ("parts", "drip"),
    [
        ((), b""),
        ((b"G",), b""),
        ((PAGE,), b""),
        ((PAGE,), b"X"),
        ((PAGE + b"Upgrade: websocket\r\n",), b""),
    ],
    ids=["silent", "one byte", "header", "header byte by byte", "upgrade"],
)
def test_a_header_that_does_not_end_is_dropped(
    guarded: Server, parts: tuple[bytes, ...], drip: bytes
) -> None:
    with opened(guarded, *parts) as plain:
        seconds, said = closed_after(plain, drip)
    assert 0.5 * SECONDS < seconds < 8 * SECONDS
    assert said == b""


def test_a_second_header_that_does_not_end_is_dropped_too(guarded: Server) -> None:
    with opened(guarded, PAGE + b"\r\n") as plain:
        got = b""
        while b"</html>" not in got:
            got += plain.recv(65536)
        plain.sendall(b"GET /")
        seconds, said = closed_after(plain, b"x")
    assert seconds < 8 * SECONDS
    assert b"HTTP/1.1" not in said


def test_a_body_that_does_not_end_is_dropped(guarded: Server) -> None:
    with session(guarded) as mine:
        head = (
            f"PUT /_stcore/upload_file/{mine.id}/late HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Cookie: _streamlit_xsrf={mine.xsrf}\r\nX-Xsrftoken: {mine.xsrf}\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 4000000\r\n\r\n"
        )
        with opened(guarded, head.encode(), b"--b\r\n") as plain:
            seconds, said = closed_after(plain)
        assert 0.5 * SECONDS < seconds < 8 * SECONDS
        assert said.startswith(b"HTTP/1.1 408")
        assert b"Traceback" not in said
        assert mine.send(4 * MIB).status == 204, "what never came takes no room"


def test_a_body_that_nobody_reads_holds_no_connection(guarded: Server) -> None:
    with opened(guarded, PAGE + b"Content-Length: 1000000\r\n\r\n") as plain:
        seconds, said = closed_after(plain, b"x")
    assert said.startswith(b"HTTP/1.1 200")
    assert seconds < 8 * SECONDS


def test_a_window_that_is_only_looked_at_stays_open(guarded: Server) -> None:
    with session(guarded) as mine:
        end = time.monotonic() + 4 * SECONDS
        wait_for(lambda: time.monotonic() > end, 10 * SECONDS, "longer than a request may take")
        assert mine.send(10).status == 204


def test_half_open_connections_leave_no_descriptors(guarded: Server) -> None:
    process = psutil.Process(guarded.process.pid)
    before = process.num_fds()
    many = [opened(guarded, b"GET / HT") for _ in range(200)]
    try:
        wait_for(lambda: process.num_fds() >= before + 150, 180, "the connections to be there")
        assert ask(guarded, "/_stcore/health").text == "ok"
        wait_for(lambda: process.num_fds() <= before + 20, 180, "the connections to be gone")
    finally:
        for plain in many:
            plain.close()


def test_nothing_of_this_was_logged_as_a_failure(guarded: Server) -> None:
    log = (guarded.home / "server.log").read_text()
    assert "Traceback" not in log
    assert len(re.findall("refused a request for the host 'evil.example'", log)) == 1
