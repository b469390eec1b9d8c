"""The app as a user starts it, for browser tests and screenshots."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]


@dataclass
class Server:
    """A running app."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """End the app as a user does, and check that no process is left."""
        family = [self.process, *psutil.Process(self.process.pid).children(recursive=True)]
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)
        pids = [member.pid for member in family[1:]]
        wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids), 20, "no orphan process")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_app(
    home: Path, *further: str, port: int | None = None, **settings: str
) -> Iterator[Server]:
    """The app on a port of the loopback address, with what is in `home`.

    Args:
        further: options of Streamlit.
        port: a free one by default.
        settings: further environment variables.
    """
    port = port or free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py"]
    options = ["--server.port", str(port), "--server.headless", "true", *further]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ASI_")}
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *options],
            cwd=ROOT,
            env={**environment, "ASI_HOME": str(home), **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    app = Server(f"http://127.0.0.1:{port}", home, process)
    try:
        wait_for(app.answers, 180, "the server's first answer")
        yield app
    finally:
        app.stop()
