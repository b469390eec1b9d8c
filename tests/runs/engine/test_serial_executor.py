from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from asi_core.runs.engine.serial_executor import SerialExecutor, in_turns
from tests.runs.turns import held
from tests.waiting import wait_for


def test_turns_alternate_in_one_thread() -> None:
    executor, order, computing = SerialExecutor(), list[str](), set[int]()
    ready = threading.Barrier(3)

    def items(name: str) -> Iterator[str]:
        for _ in range(20):
            computing.add(threading.get_ident())
            order.append(name)
            yield name

    def work(name: str) -> None:
        ready.wait()
        assert list(in_turns(items(name), executor)) == [name] * 20

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(order) == 60
    assert len(computing) == 1
    assert threading.get_ident() not in computing


def test_calls_are_executed_in_the_order_of_requests() -> None:
    executor, order = SerialExecutor(), list[str]()
    waiting: list[threading.Thread] = []
    with held(executor):
        for name in "abcd":
            thread = threading.Thread(target=executor.run, args=(order.append, name))
            thread.start()
            waiting.append(thread)
            wait_for(lambda: executor.waiting == len(waiting), 5, "a place in the queue")
    for thread in waiting:
        thread.join(timeout=5)
    assert order == ["a", "b", "c", "d"]
    assert executor.waiting == 0


def test_after_an_error_the_next_call_gets_its_turn() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise RuntimeError("broken")

    executor = SerialExecutor()
    stream = in_turns(broken(), executor)
    assert next(stream) == 1
    with pytest.raises(RuntimeError, match="broken"):
        next(stream)
    assert list(in_turns(iter([1, 2]), executor)) == [1, 2]


def test_a_turn_has_the_caller_s_context() -> None:
    here: ContextVar[str] = ContextVar("here", default="nowhere")
    executor = SerialExecutor()
    here.set("mine")
    assert executor.run(here.get) == "mine"
    seen: list[str] = []
    other = threading.Thread(target=lambda: seen.append(executor.run(here.get)))
    other.start()
    other.join()
    assert seen == ["nowhere"]


def test_the_thread_is_prepared_once() -> None:
    prepared: list[int] = []
    executor = SerialExecutor(lambda: prepared.append(threading.get_ident()))
    computing = {executor.run(threading.get_ident) for _ in range(3)}
    assert [*computing] == prepared
