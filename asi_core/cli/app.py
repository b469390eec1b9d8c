"""`app`: serve the dashboard of the checkout or the installed package."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import socket
import sys
import tomllib
from importlib.util import find_spec

from asi_core.cli.options import Commands
from asi_core.cli.signals import Interrupted, hangup_terminates, noting
from asi_core.errors import InvalidInput, Unavailable
from asi_core.settings import APP, read_settings

_PORT = 8501
_HIGHEST_PORT = 65_535


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("app", help="serve the dashboard in the browser")
    parser.add_argument(
        "--port", type=int, default=_PORT, metavar="P", help=f"port; {_PORT} by default"
    )
    parser.add_argument("--home", metavar="FOLDER", help="folder of the runs, instead of ASI_HOME")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve the dashboard until a signal ends it.

    Raises:
        InvalidInput: if the port cannot be used, or a setting is invalid.
        Unavailable: if Streamlit is not installed, or the store cannot be opened.
    """
    if options.home:
        # In the environment, so that workers inherit it.
        os.environ["ASI_HOME"] = options.home
    if find_spec("streamlit") is None:
        raise Unavailable(
            "the dashboard needs Streamlit, which is not installed here: install it with "
            "`pip install streamlit`."
        )
    _check_port(options.port)
    _make_home()
    try:
        with hangup_terminates():
            _serve(options.port)
    finally:
        _stop_workers()
    return 0


def _check_port(port: int) -> None:
    if not 1 <= port <= _HIGHEST_PORT:
        raise InvalidInput(
            f"--port must be from 1 to {_HIGHEST_PORT}", port, f"{_PORT} is the usual one"
        )
    address = _address()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.create_server((address, port), family=family).close()
    except OSError as error:
        # Python appends the address.
        reason = (error.strerror or str(error)).partition(" (")[0].lower()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise InvalidInput(
                "STREAMLIT_SERVER_ADDRESS must be an address of this machine", address, reason
            ) from None
        raise InvalidInput(
            f"--port must be free at {address}",
            f"{port} ({reason})",
            "stop what uses it, or choose another with --port",
        ) from None


def _address() -> str:
    """Streamlit's address: from its environment variable, or else from the app's settings."""
    if address := os.environ.get("STREAMLIT_SERVER_ADDRESS"):
        return address
    settings = tomllib.loads((APP / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    return str(settings["server"]["address"])


def _make_home() -> None:
    try:
        read_settings().home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        from asi_core.runs.store.database import silence_of

        raise silence_of(error) from error


def _serve(port: int) -> None:
    """Do what `streamlit run` does; Streamlit finds the settings beside `app.py`."""
    import click
    from streamlit.web.cli import main as streamlit

    # At a second Ctrl-C during shutdown, uvicorn would log that the app has failed.
    logging.getLogger("uvicorn.error").addFilter(_is_no_interruption)
    command = ["run", str(APP / "app.py"), "--server.port", str(port)]
    try:
        streamlit(command, standalone_mode=False)
    except click.ClickException as error:
        raise InvalidInput(
            "Streamlit's settings must be valid",
            error.format_message().rstrip("."),
            "correct them in .streamlit/config.toml, or in the STREAMLIT_ environment variables",
        ) from None


def _is_no_interruption(record: logging.LogRecord) -> bool:
    return Interrupted.__name__ not in record.getMessage()


def _stop_workers() -> None:
    """Stop them now instead of at interpreter exit, which a second Ctrl-C would break."""
    engine = sys.modules.get("asi_core.runs.engine.engine")
    if engine is not None:
        with noting():
            engine.close_shared_engine()
