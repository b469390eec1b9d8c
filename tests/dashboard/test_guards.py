"""The ASGI middleware alone: the visitor's address, and the limit of waiting connections."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn

from dashboard import visitor
from dashboard.asgi import PEER
from dashboard.connections import DropHalfOpen, raise_descriptor_limit, watching
from dashboard.guard import Guard
from tests.waiting import wait_for


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def nothing(*_: Any) -> Any:
    return {}


def run(coroutine: Any) -> None:
    # In another thread: Playwright runs an event loop in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, coroutine).result()


@contextmanager
def served(seconds: float, most: int) -> Iterator[tuple[str, int]]:
    """A small server whose connections are watched."""
    config = uvicorn.Config(hello, port=0, log_level="error", lifespan="off")
    config.load()
    config.http_protocol_class = watching(config.http_protocol_class, seconds, most)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started, 10, "the server")
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        thread.join()


def test_of_too_many_waiting_connections_the_oldest_goes() -> None:
    with served(seconds=60, most=3) as where:
        waiting = [socket.create_connection(where, timeout=10) for _ in range(3)]
        for plain in waiting:
            plain.sendall(b"GET / HT")
        with socket.create_connection(where, timeout=10) as one_more:
            with suppress(ConnectionResetError):
                assert waiting[0].recv(1) == b"", "it is closed"
            one_more.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            assert one_more.recv(1000).startswith(b"HTTP/1.1 200")
            waiting[2].sendall(b"TP/1.1\r\nHost: here\r\n\r\n")
            assert waiting[2].recv(1000).startswith(b"HTTP/1.1 200")
        for plain in waiting:
            plain.close()


def test_a_server_that_is_not_uvicorn_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run(DropHalfOpen(hello)({"type": "lifespan"}, nothing, nothing))
    assert "half-open connections are not dropped" in caplog.text


def test_descriptors_are_as_many_as_the_system_allows() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        wanted = raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wanted, before[1])
        assert wanted > 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def address_of(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The client that the app sees for a connection from 192.0.2.1."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"])

    scope = {
        "type": "http",
        "path": "/",
        "method": "GET",
        "headers": headers,
        # As uvicorn sets it behind a local proxy, from a header that clients can forge.
        "client": ("198.51.100.9", 0),
        "state": {PEER: ("192.0.2.1", 1234)},
    }
    run(Guard(app)(scope, nothing, nothing))
    return seen[0] and seen[0][0]


def test_without_a_named_header_the_connection_itself_counts() -> None:
    assert address_of([(b"x-forwarded-for", b"198.51.100.9")]) == "192.0.2.1"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([b"203.0.113.5"], "203.0.113.5"),
        ([b"1.1.1.1, 203.0.113.5"], "203.0.113.5"),
        ([b"1.1.1.1", b"203.0.113.5"], "203.0.113.5"),
        ([b"203.0.113.5:4711"], "203.0.113.5"),
        ([b"[2001:db8::5]:4711"], "2001:db8::5"),
        ([b"2001:db8::5"], "2001:db8::5"),
        ([b"unknown"], "unknown"),
        ([], None),
    ],
)
def test_a_proxy_names_the_address(
    monkeypatch: pytest.MonkeyPatch, headers: list[bytes], expected: str | None
) -> None:
    monkeypatch.setenv("ASI_ADDRESS_HEADER", "X-Forwarded-For")
    assert address_of([(b"x-forwarded-for", value) for value in headers]) == expected


def test_visitors_without_an_address_are_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there, again = [], [], []
    for address, found in ((None, here), ("203.0.113.5", there), ("203.0.113.5", again)):
        context = type("Context", (), {"ip_address": address})
        monkeypatch.setattr(visitor.st, "context", context)
        found.append(visitor.network())
    assert here != there == again
    assert None not in here + there
