"""Commands of `python -m asi_core`, in this process or in their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

from asi_core.cli import main

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Said:
    """What a command has said, and its exit code."""

    code: int
    out: str
    err: str


def call(*arguments: str) -> Said:
    """Run a command here: most of a process would be the start of Python and PyTorch."""
    streams = [TextIOWrapper(BytesIO(), encoding="utf-8") for _ in range(2)]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Said(code, *(_written(stream) for stream in streams))


def call_process(*arguments: str, **variables: str) -> Said:
    """Run a command as a terminal does, with these environment variables too."""
    ended = subprocess.run(
        [sys.executable, "-m", "asi_core", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        check=False,
        timeout=120,
    )
    return Said(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def answer(*arguments: str) -> dict[str, Any]:
    """The JSON that a command prints."""
    return parsed(call(*arguments, "--json"))


def parsed(said: Said) -> dict[str, Any]:
    assert said.code == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    return found


def _written(stream: TextIOWrapper) -> str:
    stream.flush()
    return stream.detach().getvalue().decode()  # type: ignore[attr-defined,no-any-return]
