"""Commands that are interrupted while they execute runs, by signals to their process group."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import ROOT
from tests.datasets.pictures import both_splits, write_folder
from tests.waiting import wait_for

SMALL = ("--batch-size", "4", "--image-size", "32")
LONG = ("--steps", "20000")


@dataclass
class Command:
    """A running command in a separate process group, and its home."""

    process: subprocess.Popen[str]
    home: Path

    def found(self, query: str) -> list[tuple[object, ...]]:
        """The rows in the store; empty before the store exists."""
        try:
            with sqlite3.connect(f"file:{self.home / 'asi.sqlite'}?mode=ro", uri=True) as store:
                return store.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []

    def steps(self) -> int:
        return len(self.found("SELECT 1 FROM events WHERE kind = 'step'"))

    def end(self, number: int) -> tuple[int, list[str], str]:
        """Send a signal; returns the exit code, the lines on stderr, and stdout."""
        os.killpg(self.process.pid, number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, err.splitlines(), out


class Shell:
    """Starts commands, and kills those that are left at the end."""

    def __init__(self, folder: Path, features: Path) -> None:
        self._folder, self._features = folder, features
        self._images = write_folder(folder / "images", both_splits())
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *words: str, home: str = "home") -> Command:
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ASI_")},
            "ASI_HOME": str(self._folder / home),
            "ASI_FEATURES_DIR": str(self._features),
        }
        words = (*words, *SMALL, "--dataset", f"imagefolder:{self._images}")
        process = subprocess.Popen(
            [sys.executable, "-m", "asi_core", *words],
            cwd=ROOT,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return Command(process, self._folder / home)

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=30)


@pytest.fixture
def shell(tmp_path: Path, features_dir: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path, features_dir)
    yield shell
    shell.close()


def ids(runs: Sequence[tuple[object, ...]]) -> set[object]:
    return {run[0] for run in runs}


def test_train_and_sweep_are_cancelled_by_a_signal(shell: Shell) -> None:
    train = shell.start("train", "--method", "vanilla", "--layers", "1", *LONG, home="train")
    sweep = shell.start("sweep", "--methods", "vanilla", "--layers", "1,2", *LONG, home="sweep")
    wait_for(lambda: train.steps() > 3 and sweep.steps() > 3, 120, "some steps of both")

    code, lines, out = train.end(signal.SIGINT)
    (line,) = lines
    assert (code, out) == (130, "")
    message = re.fullmatch(
        r"cancelled: run (\w+) reached step (\d+) of 20000; its measurements are kept\.", line
    )
    assert message, line
    assert train.found("SELECT id, status FROM runs") == [(message[1], "cancelled")]
    assert train.steps() == int(message[2]) > 3
    ((summary,),) = train.found("SELECT summary FROM runs")
    assert "test_accuracy" in str(summary)

    code, lines, out = sweep.end(signal.SIGTERM)
    assert (code, out) == (143, "")
    assert len(lines) == 2, "the forecast, and the result"
    assert lines[1].startswith("cancelled: 0 of 3 runs were completed")
    assert sweep.found("SELECT DISTINCT status FROM runs") == [("cancelled",)]


def test_a_closed_terminal_ends_a_run_that_has_not_started(shell: Shell) -> None:
    """PyTorch is being imported then, and its import is not awaited."""
    command = shell.start("train", "--method", "vanilla", "--layers", "1", *LONG)
    wait_for(lambda: command.found("SELECT 1 FROM runs"), 60, "the run")
    code, lines, _ = command.end(signal.SIGHUP)
    assert code == 129
    assert len(lines) == 1
    assert command.found("SELECT status FROM runs") == [("cancelled",)]


def test_a_command_is_ended_before_it_has_started_anything(shell: Shell) -> None:
    command = shell.start("measure", "--method", "vanilla", "--layers", "1")
    maps = Path(f"/proc/{command.process.pid}/maps")
    if not maps.exists():
        pytest.skip("needs Linux, to see what is imported")
    wait_for(lambda: "libtorch" in maps.read_text(), 60, "the import of PyTorch")
    assert command.end(signal.SIGINT) == (130, ["interrupted."], "")


def test_two_equal_commands_share_a_run_and_one_of_them_may_be_ended(shell: Shell) -> None:
    rarely = ("--evaluate-every", "600", "--probe-every", "600")
    words = ("train", "--method", "vanilla", "--layers", "1", "--steps", "600", *rarely)
    first = shell.start(*words)
    wait_for(lambda: first.found("SELECT 1 FROM runs WHERE status = 'running'"), 60, "the run")
    second, third = shell.start(*words), shell.start(*words)
    assert third.process.stderr is not None
    assert "already active: waiting for it" in third.process.stderr.readline()
    code, lines, _ = third.end(signal.SIGINT)
    assert code == 130
    assert len(lines) == 1
    assert "continues, as another user or process needs it" in lines[0]
    ended = [command.process.communicate(timeout=120) for command in (first, second)]
    assert [command.process.returncode for command in (first, second)] == [0, 0], ended
    assert ended[0][0] == ended[1][0]
    assert first.found("SELECT status FROM runs") == [("completed",)]
