"""Signals that end a command: INT (Ctrl-C), TERM, and HUP (the terminal was closed)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

# Windows has no SIGHUP.
_HANGUP = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()
_ENDING = (signal.SIGINT, signal.SIGTERM, *_HANGUP)


class Interrupted(BaseException):
    """A signal has ended the command.

    Args:
        number: the signal's number.
        message: one line about the state of the interrupted work.
    """

    def __init__(self, number: int, message: str = "interrupted.") -> None:
        super().__init__(message)
        self.message = message
        # The shells' convention.
        self.code = 128 + number


@contextmanager
def interrupting() -> Iterator[None]:
    """Raise `Interrupted` in the main thread when a signal arrives."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled_by(interrupt):
        yield


@contextmanager
def noting() -> Iterator[list[int]]:
    """Append signals to the returned list instead of raising, so that work ends in order."""
    numbers: list[int] = []
    with _handled_by(lambda number, frame: numbers.append(number)):
        yield numbers


@contextmanager
def hangup_terminates() -> Iterator[None]:
    """Pass HUP on as TERM, for a server that shuts down properly only on TERM.

    Raises:
        Interrupted: with HUP instead of TERM, if HUP arrived first.
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
        # Python delivers signals to the main thread only.
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    # A signal that is ignored, as with nohup, stays ignored.
    replaced = {n: old for n, old in before.items() if old not in (signal.SIG_IGN, None)}
    for number in replaced:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in replaced.items():
            signal.signal(number, old)
