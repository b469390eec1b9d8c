"""Signals that end a command: Ctrl-C, TERM, and HUP of a terminal that is closed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

# Windows has none.
_HANGUP = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()
_ENDING = (signal.SIGINT, signal.SIGTERM, *_HANGUP)


class Interrupted(BaseException):
    """A signal has ended the command.

    Args:
        number: of the signal.
        told: what has become of what was asked for, in one line.
    """

    def __init__(self, number: int, message: str = "interrupted.") -> None:
        super().__init__(message)
        self.message = message
        # As shells have it.
        self.code = 128 + number


@contextmanager
def interrupting() -> Iterator[None]:
    """Raise `Interrupted` in the main thread, wherever it is, when a signal comes."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled_by(interrupt):
        yield


@contextmanager
def noting() -> Iterator[list[int]]:
    """Note signals for whoever looks at the list, instead of raising: what goes on is in order."""
    numbers: list[int] = []
    with _handled_by(lambda number, frame: numbers.append(number)):
        yield numbers


@contextmanager
def hangup_terminates() -> Iterator[None]:
    """Pass HUP on as TERM, to a server that ends in good order by TERM alone.

    Raises:
        Interrupted: that of TERM becomes one of HUP, where HUP came first.
    """
    hangups: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        hangups.append(number)
        signal.raise_signal(signal.SIGTERM)

    with _handled_by(pass_on, _HANGUP):
        try:
            yield
        except Interrupted:
            if hangups:
                raise Interrupted(hangups[0]) from None
            raise


@contextmanager
def _handled_by(
    handler: Callable[[int, FrameType | None], None], numbers: Sequence[int] = _ENDING
) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        # Others hear no signals.
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    # What is ignored, as with nohup, is to be ignored.
    heard = {n: old for n, old in before.items() if old not in (signal.SIG_IGN, None)}
    for number in heard:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in heard.items():
            signal.signal(number, old)
