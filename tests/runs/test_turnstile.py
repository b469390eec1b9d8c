from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from asi_core.runs.turnstile import Turnstile, in_turns


def test_turns_alternate_and_never_overlap() -> None:
    turnstile, order, inside = Turnstile(), [], threading.Semaphore(1)
    ready = threading.Barrier(3)

    def items(name: str) -> Iterator[str]:
        for _ in range(20):
            assert inside.acquire(blocking=False), "two turns at once"
            order.append(name)
            inside.release()
            yield name

    def work(name: str) -> None:
        ready.wait()
        assert list(in_turns(items(name), turnstile)) == [name] * 20

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(order) == 60


def test_the_first_to_wait_is_the_first_to_go() -> None:
    turnstile, order = Turnstile(), []
    waiting = []
    with turnstile.turn():
        for name in "abcd":
            thread = threading.Thread(target=lambda n=name: _go(turnstile, order, n))
            thread.start()
            waiting.append(thread)
            while turnstile.waiting < len(waiting):
                threading.Event().wait(0.001)
    for thread in waiting:
        thread.join(timeout=5)
    assert order == ["a", "b", "c", "d"]


def _go(turnstile: Turnstile, order: list[str], name: str) -> None:
    with turnstile.turn():
        order.append(name)


def test_an_error_passes_the_turn_on() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise RuntimeError("broken")

    turnstile = Turnstile()
    stream = in_turns(broken(), turnstile)
    assert next(stream) == 1
    with pytest.raises(RuntimeError, match="broken"):
        next(stream)
    assert list(in_turns(iter([1, 2]), turnstile)) == [1, 2]
