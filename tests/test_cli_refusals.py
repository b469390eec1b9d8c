"""A command reports every invalid input in one line."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from asi_core.cli import parse
from asi_core.cli.train import requested_spec
from asi_core.methods import ASI, HOSVD, USUAL_EXPLAINED_VARIANCE, Vanilla
from asi_core.training.spec import RunSpec
from tests.browser.app import free_port
from tests.command import ROOT, call, call_process

HUGE = str(10**20)
LONG = "x" * 5000
TRAIN = ("train", "--method", "vanilla")
# Only ASCII, for the terminal and for files.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@dataclass(frozen=True)
class Case:
    """A command, and what its one line must contain. `{}` is a folder of files."""

    arguments: tuple[str, ...]
    message: str
    variables: dict[str, str] = field(default_factory=dict)


def case(*arguments: str, message: str, **variables: str) -> Case:
    return Case(arguments, message, variables)


CASES = {
    **{
        f"{command}, {size} pixels": case(
            *(command, "--image-size", size, *more),
            message=f"image size must be at {'most' if size == HUGE else 'least'}",
        )
        for size in ("1", "3", "10", HUGE)
        for command, more in (
            ("train", ("--method", "vanilla")),
            ("estimate", ("--method", "vanilla")),
        )
    },
    "plan, 10 pixels": case(
        "plan", "--budget-mib", "1", "--image-size", "10", message="at least 32"
    ),
    "binary file": case("train", "--spec", "{}/binary", message="not UTF-8 text"),
    "deep JSON": case("train", "--spec", "{}/deep.json", message="recursion limit"),
    "large file": case("train", "--spec", "{}/large.json", message="more than 1 MiB"),
    "long name": case("train", "--spec", "{}/long.json", message="extra inputs"),
    "many names": case("train", "--spec", "{}/many.json", message="and 496 more"),
    "no file": case("train", "--spec", LONG, message="File name too long"),
    "folder": case("train", "--spec", "{}", message="Is a directory"),
    "a home that is a file": case(
        *TRAIN, message="cannot be used (File exists)", ASI_HOME="{}/binary"
    ),
    "a home in /proc": case(*TRAIN, message="set ASI_HOME to a writable", ASI_HOME="/proc/asi"),
    "a long home": case(*TRAIN, message="File name too long", ASI_HOME="/tmp/" + "x" * 3000),
    "nobody's home": case(*TRAIN, message="home directory", ASI_HOME="~nobody-here/asi"),
    "no database": case(
        *("sweep", "--methods", "vanilla"),
        message="Connection refused",
        ASI_DATABASE_URL=f"postgresql://me:secret@127.0.0.1:{free_port()}/asi",
    ),
    "no address": case(
        *TRAIN,
        message="must be the URL of a database",
        ASI_DATABASE_URL="postgresql://me:secret:x/1",
    ),
    "threads": case(*TRAIN, message="ASI_THREADS", ASI_THREADS=HUGE),
    "seed": case(*TRAIN, "--seed", HUGE, message="seed must be at most 9007199254740991"),
    "digits": case(*TRAIN, "--seed", "1" * 5000, message="--seed"),
    "learning rate": case(*TRAIN, "--learning-rate", "1e308", message="must be at most 3.4e+38"),
    "weight decay": case(*TRAIN, "--weight-decay", "1e308", message="must be at most 3.4e+38"),
    "clip norm": case(*TRAIN, "--clip-norm", "1e308", message="must be at most 3.4e+38"),
    "steps": case(*TRAIN, "--steps", HUGE, message="at most 20000 steps"),
    "a list of one rank": case("train", "--ranks", "4", message="needs one per mode"),
    "a list of letters": case("sweep", "--ranks", "4,x,4,4", message="must be whole numbers"),
    "a list of two ranks": case("train", "--ranks", "4,4", message="got a list of 2"),
    "budget": case("train", "--budget-mib", "1e308", message="positive number of MiB"),
    "batches": case("plan", "--budget-mib", "1", "--batches", HUGE, message="must be 1 to 1000"),
    "estimate without ranks": case("estimate", message="exactly one of explained variance, rank"),
    "model": case("estimate", "--method", "vanilla", "--model", LONG, message="one of the zoo"),
    "flag": case("train", f"--{LONG}", message="unrecognized arguments"),
    "command": case(LONG, message="invalid choice"),
    "comparison": case("export", LONG, message="the comparison must exist"),
    "archive": case("import", "{}/binary", message="must be a file exported by this app"),
    "characters": Case(
        ("estimate", "--method", "vanilla", "--model", "模型"), "must be one of the zoo", ASCII
    ),
}


# What depends on how a process is started, and two of each kind of the others.
PROCESSES = ("characters", "deep JSON", "nobody's home", "a list of two ranks", "flag", "threads")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that no command accepts."""
    files = tmp_path_factory.mktemp("files")
    (files / "binary").write_bytes(bytes(range(256)) * 9)
    (files / "deep.json").write_text('{"method":' + "[" * 10**5 + "]" * 10**5 + "}")
    (files / "large.json").write_text('{"method":' + " " * 2**20 + "1}")
    (files / "long.json").write_text(json.dumps({"method": {"kind": "vanilla"}, LONG: 1}))
    many = {f"x{n}": 1 for n in range(500)}
    (files / "many.json").write_text(json.dumps({"method": {"kind": "vanilla"}, **many}))
    return files


def no_runs(home: Path) -> bool:
    """Whether a home's store has no runs, or is not there."""
    # For an invalid path, pathlib would raise.
    if not os.path.isfile(home / "asi.sqlite"):
        return True
    with sqlite3.connect(home / "asi.sqlite") as store:
        return store.execute("SELECT status FROM runs").fetchall() == []


@pytest.mark.parametrize("name", CASES)
def test_invalid_input_is_reported_in_one_line(
    name: str, files: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = CASES[name]
    arguments = [word.replace("{}", str(files)) for word in asked.arguments]
    for variable, value in asked.variables.items():
        monkeypatch.setenv(variable, value.replace("{}", str(files)))
    found = (call_process if name in PROCESSES else call)(*arguments)
    assert found.code == 2
    assert found.out == ""
    assert found.err.endswith("\n")
    (line,) = found.err.splitlines()
    assert len(line) <= 400
    assert "Traceback" not in line
    assert asked.message in line
    assert "secret" not in line, "a password is not printed"
    assert no_runs(Path(os.environ["ASI_HOME"]))


def test_characters_that_the_terminal_lacks_are_replaced() -> None:
    for arguments in (("poster",), ("estimate", "--method", "vanilla")):
        found = call_process(*arguments, **ASCII)
        assert found.code == 0, found.err
        assert found.out.isascii()
    assert "432 KiB" in found.out


def test_a_closed_pipe_gives_no_traceback(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-m", "asi_core", "estimate", "--method", "vanilla", "--layers", "all"],
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        timeout=120,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("flags", "method"),
    [
        ([], ASI(explained_variance=USUAL_EXPLAINED_VARIANCE)),
        (["--method", "hosvd"], HOSVD(explained_variance=USUAL_EXPLAINED_VARIANCE)),
        (["--rank", "4"], ASI(ranks=4)),
        (["--bits", "8"], ASI(explained_variance=USUAL_EXPLAINED_VARIANCE, bits=8)),
        (["--budget-mib", "1"], ASI(budget_bytes=2**20)),
        (["--layers", "0"], Vanilla()),
        (["--layers", "0", "--rank", "4"], ASI(ranks=4)),
    ],
)
def test_the_method_has_the_same_defaults_as_on_pages(
    flags: list[str], method: ASI | HOSVD | Vanilla
) -> None:
    spec = requested_spec(parse(["train", *flags]))
    assert spec.method == method
    assert spec == RunSpec(method=method, layers=spec.layers)
