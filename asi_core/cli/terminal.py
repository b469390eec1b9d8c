"""Output of commands: one line for errors, in characters that the terminal supports."""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
from collections.abc import Iterable
from typing import NoReturn, TextIO

from asi_core.errors import shortened

USAGE_ERROR = 2
# A shell's exit code for a program that wrote to a closed pipe.
PIPE_CLOSED = 128 + getattr(signal, "SIGPIPE", 13)

# Two less than the promised 400, as "…" may be written as three points.
_LONGEST_LINE = 398
_PLAIN = {
    **dict.fromkeys("\u202f\u2009\u00a0", " "),
    "×": "x",
    "±": "+-",
    "…": "...",
    "–": "-",
    "−": "-",
    "·": "*",
}
_HANDLER = "asi-plain"
# Characters that hold the names of the zoo's layers.
_USUAL_NAMES = 32


def name_width(names: Iterable[str]) -> int:
    """The width of a column of layers' names; networks beyond the zoo have long ones."""
    return max((_USUAL_NAMES, *map(len, names)))


def say(line: str) -> None:
    """Print one line of at most 400 characters on stderr."""
    if sys.stderr is None:
        return
    words = " ".join(line.split())
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    # Encoded first, as some characters become several.
    written = words.encode(encoding, _HANDLER).decode(encoding)
    print(shortened(written, _LONGEST_LINE), file=sys.stderr, flush=True)


def plain_characters() -> None:
    """Replace characters that stdout or stderr cannot encode, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _in_plain(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start]
    if missing not in _PLAIN:
        return codecs.backslashreplace_errors(error)
    return _PLAIN[missing], error.start + 1


codecs.register_error(_HANDLER, _in_plain)


def write_out(stream: TextIO | None) -> None:
    """Flush the stream.

    Raises:
        BrokenPipeError: if the pipe is closed.
        SystemExit: with one line on stderr, if it cannot be written.
    """
    if stream is None:
        return
    try:
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        say(f"the output cannot be written ({error.strerror}).")
        to_nowhere()
        raise SystemExit(USAGE_ERROR) from None


def to_nowhere() -> None:
    """Redirect the output to the null device, as the interpreter flushes once more at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            os.dup2(nowhere, stream.fileno())


def leave(code: int) -> NoReturn:
    """End the process at once."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)
