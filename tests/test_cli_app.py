"""The command `app`, which serves the dashboard, as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from asi_core import __version__
from asi_core.cli import main
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from tests.browser.app import Server, free_port
from tests.command import ROOT
from tests.datasets.few import few_images
from tests.waiting import wait_for


@contextmanager
def started(home: Path, **variables: str) -> Iterator[Server]:
    """The app as a terminal starts it: in a separate process group."""
    port = free_port()
    others = {name: value for name, value in os.environ.items() if not name.startswith("ASI_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "asi_core", "app", "--port", str(port), "--home", str(home)],
        cwd=ROOT,
        env={**others, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        server = Server(f"http://127.0.0.1:{port}", home, process)
        wait_for(server.answers, 60, "the first answer")
        yield server
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)


def end(server: Server, *signals: int) -> tuple[int, str]:
    """Signal all processes of the terminal; returns the exit code and the output."""
    family = psutil.Process(server.process.pid).children(recursive=True)
    for number in signals:
        os.killpg(server.process.pid, number)
    written, _ = server.process.communicate(timeout=60)
    pids = [process.pid for process in family]
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids), 20, "no process left")
    return server.process.returncode, written.decode()


def test_ctrl_c_ends_server_and_worker_and_the_run_waits_for_the_next_start(
    home: Path, features_dir: Path
) -> None:
    store = RunStore(read_settings().database_url)
    spec = RunSpec.model_validate(
        {"method": {"kind": "vanilla"}, "dataset": few_images(), "steps": 20_000}
        | {"layers": 1, "batch_size": 4, "image_size": 32}
    )
    (run,) = store.create([spec], "somebody")
    with started(home, ASI_FEATURES_DIR=str(features_dir)) as server:
        wait_for(lambda: store.last_step(run.id) > 3, 120, "some steps")
        # Several, as when the keys are held down.
        code, written = end(server, *[signal.SIGINT] * 3)
    assert code == 130
    assert written.splitlines()[-1] == "interrupted."
    assert "Traceback" not in written
    assert store.queued().keys() == {run.id}
    store.close()


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_other_signals_end_it_too(home: Path, opened_before: None, name: str, code: int) -> None:
    with started(home) as server:
        ended, written = end(server, getattr(signal, name))
    assert ended == code
    assert written.splitlines()[-1] == "interrupted."
    assert "Traceback" not in written


def refused(*arguments: str, **variables: str) -> str:
    """The error line of a start that fails."""
    ended = subprocess.run(
        [sys.executable, "-m", "asi_core", "app", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    return line


def test_a_port_in_use_is_named_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refused("--port", str(port)) == (
            f"--port must be free at 127.0.0.1, got {port} (address already in use): "
            "stop what uses it, or choose another with --port."
        )


def test_invalid_settings_are_reported_before_anything_is_served(tmp_path: Path) -> None:
    assert "from 1 to 65535, got 65536" in refused("--port", "65536")
    (tmp_path / "file").touch()
    assert "ASI_HOME to a writable folder" in refused("--home", str(tmp_path / "file"))
    port = str(free_port())
    assert "ASI_WORKERS" in refused("--port", port, ASI_WORKERS="0")
    nowhere = refused("--port", port, STREAMLIT_SERVER_ADDRESS="192.0.2.1")
    assert "must be an address of this machine, got 192.0.2.1" in nowhere
    message = refused("--port", port, STREAMLIT_SERVER_MAX_UPLOAD_SIZE="much")
    assert "Streamlit's settings" in message
    assert "much" in message


def test_without_streamlit_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("asi_core.cli.app.find_spec", lambda name: None)
    assert main(["app"]) == 2
    assert "pip install streamlit" in capsys.readouterr().err


def test_help_imports_neither_torch_nor_streamlit() -> None:
    code = (
        "import sys; from asi_core.cli import main\n"
        "try: main(['app', '--help'])\n"
        "except SystemExit: sys.exit(bool({'torch', 'streamlit'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--port" in ended.stdout


def test_the_version_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"asi-lab {__version__}\n"
