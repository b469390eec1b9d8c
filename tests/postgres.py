"""A PostgreSQL server for tests: `ASI_TEST_POSTGRES_URL`, or started from installed binaries."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from asi_core.runs.store.database import database_url, open_database
from tests.waiting import wait_for

_BINARIES = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/pgsql-*/bin")
# The server refuses to run as root; Debian's package creates this user.
_OTHER_USER = "postgres"


def find_postgres() -> Path | None:
    """The folder of `initdb` and `postgres`; None if they are not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = [folder for pattern in _BINARIES for folder in Path("/").glob(pattern[1:])]
    return max((f for f in folders if (f / "initdb").exists()), default=None)


class Postgres:
    """A server with a temporary data folder, on a loopback address."""

    def __init__(self, binaries: Path, address: str = "127.0.0.1") -> None:
        self._binaries, self._address = binaries, address
        self._folder = Path(tempfile.mkdtemp(prefix="asi-postgres-"))
        self._user = _OTHER_USER if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self._folder, self._user)
        data = str(self._folder / "data")
        made = [self._program("initdb"), "-D", data, "-U", "asi", "--auth=trust", "--no-sync"]
        subprocess.run(made, check=True, user=self._user, cwd=self._folder, capture_output=True)
        self._port = _free_port(address)
        self.start()

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"postgresql://asi@{self._address}:{self._port}/postgres"

    def start(self) -> None:
        """Start the server, also after `stop`."""
        command = [self._program("postgres"), "-D", str(self._folder / "data")]
        options = {
            "listen_addresses": self._address,
            "port": self._port,
            "unix_socket_directories": self._folder,
            "fsync": "off",
            "max_connections": 300,
        }
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, user=self._user, cwd=self._folder, stdout=log, stderr=log
            )
        wait_for(lambda: _answers(self.url), 60, "PostgreSQL")

    def stop(self) -> None:
        """Stop the server and all its connections."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=60)

    def remove(self) -> None:
        """Stop the server and delete its data."""
        if self._process.poll() is None:
            self.stop()
        shutil.rmtree(self._folder)

    def _program(self, name: str) -> str:
        return str(self._binaries / name)


@lru_cache(maxsize=1)
def _template(server: str) -> str:
    """The name of a template database with all tables."""
    name = f"asi_template_{uuid.uuid4().hex[:8]}"
    _execute(server, f'CREATE DATABASE "{name}"')
    open_database(_named(server, name)).dispose()
    return name


@contextmanager
def fresh_database(server: str, *, tables: bool = True) -> Iterator[str]:
    """The URL of a database with empty tables, or without any, removed afterwards."""
    name = f"asi_test_{uuid.uuid4().hex[:12]}"
    _execute(
        server,
        f'CREATE DATABASE "{name}" TEMPLATE "{_template(server) if tables else "template0"}"',
    )
    try:
        yield _named(server, name)
    finally:
        _execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


def _named(server: str, name: str) -> str:
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _execute(server: str, statement: str) -> None:
    with _administration(server).connect() as connection:
        connection.execute(text(statement))


@lru_cache(maxsize=1)
def _administration(server: str) -> Engine:
    """Connections that are kept: to open one takes as long as to create a database."""
    url = database_url(server)
    return create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)


def _answers(url: str) -> bool:
    engine = create_engine(database_url(url))
    try:
        engine.connect().close()
    except OperationalError:
        return False
    finally:
        engine.dispose()
    return True


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
