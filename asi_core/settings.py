"""Where things are kept and how much may be used: environment variables, read in one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from asi_core.errors import InvalidInput, Refused
from asi_core.units import GIB, MIB

_PACKAGE = Path(__file__).resolve().parent
PROJECT = _PACKAGE.parent
# Where `app.py` and its pages are. An installed package has them, and its data, inside of it.
_INSTALLED_APP = _PACKAGE / "_app"
_IS_CHECKOUT = not _INSTALLED_APP.is_dir()
APP = PROJECT if _IS_CHECKOUT else _INSTALLED_APP
DATA = PROJECT / "data" if _IS_CHECKOUT else _PACKAGE / "_data"
_HOME = DATA / "home" if _IS_CHECKOUT else Path("~/.asi-lab")

_PREFIX = "ASI_"


# More than any machine has; PyTorch counts them in 32 bits.
_MOST_THREADS = 4096


def _resolved(value: Any) -> Any:
    if not isinstance(value, (str, Path)):
        return value
    try:
        return Path(value).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        # Of somebody who has no home, a link that leads to itself, or a name that is none.
        raise InvalidInput(
            "a folder must have a path that leads somewhere",
            repr(str(value)),
            str(error).rstrip("."),
        ) from None


Folder = Annotated[Path, BeforeValidator(_resolved)]


class Limits(BaseModel):
    """What visitors may ask for; the service that takes up runs enforces it.

    Attributes:
        runs_per_owner: runs of one owner that may wait or go at a time
            (`ASI_MAX_RUNS_PER_OWNER`).
        runs_per_network: of one network address, whatever names its visitors take
            (`ASI_MAX_RUNS_PER_NETWORK`).
        runs: of all owners together (`ASI_MAX_RUNS`).
        questions_per_owner, questions_per_network, questions: that may wait for the worker at a
            time, as runs do (`ASI_MAX_QUESTIONS_PER_OWNER`, `ASI_MAX_QUESTIONS_PER_NETWORK`,
            `ASI_MAX_QUESTIONS`).
        steps: of one run (`ASI_MAX_STEPS`).
        image_size: of one run, pixels (`ASI_MAX_IMAGE_SIZE`).
        run_seconds: that one run may take (`ASI_MAX_RUN_SECONDS`).
        session_files, session_bytes: uploaded files that the server holds in memory for one window
            (`ASI_MAX_SESSION_FILES`, `ASI_MAX_SESSION_BYTES`).
        held_bytes: of all windows together (`ASI_MAX_HELD_BYTES`); those of one network address
            may fill half.
        run_bytes: memory that one run may ask for, by estimate (`ASI_MAX_RUN_BYTES`); None for
            what the machine of the worker has.
    """

    model_config = ConfigDict(frozen=True)

    runs_per_owner: int = Field(default=48, ge=1)
    # Half of all: a class behind one address fits, and nobody fills the queue from one.
    runs_per_network: int = Field(default=200, ge=1)
    runs: int = Field(default=400, ge=1)
    questions_per_owner: int = Field(default=8, ge=1)
    questions_per_network: int = Field(default=50, ge=1)
    questions: int = Field(default=100, ge=1)
    steps: int = Field(default=20_000, ge=1)
    image_size: int = Field(default=512, ge=32)
    run_seconds: float = Field(default=6 * 3600, gt=0)
    session_files: int = Field(default=4, ge=1)
    session_bytes: int = Field(default=64 * MIB, ge=1)
    held_bytes: int = Field(default=512 * MIB, ge=1)
    run_bytes: int | None = Field(default=None, ge=1)


class Settings(BaseModel):
    """Settings of this installation: each is the environment variable of its name, after `ASI_`.

    Attributes:
        home: folder of the store and of everything that is computed.
        weights_dir: where checkpoints of models are looked for first.
        database_url: the store; by default SQLite in `home`.
        scheduler: address of a Dask scheduler whose workers execute the runs; None for workers of
            our own on this machine.
        workers: processes that execute runs, where they are our own.
        threads: with which each of them computes; None to share the processors (`threads_each`).
        niceness: by how much they give way to the server and to whatever else runs, from 0 to 19.
        worker_memory_bytes: at which one of them is stopped; by default they share the memory.
        concurrent_runs: runs that take turns in one worker.
        features_dir: where frozen features are kept across processes and restarts; by default in
            `home`; None for nowhere.
        checkpoints_dir: where running runs keep what they need to be taken up again; by default in
            `home`.
        feature_disk_bytes: disk that features may fill there; 0 for none.
        feature_bytes: memory that one process may fill with frozen features where there is no such
            room on disk.
        user_header: request header in which a proxy names the visitor; None where there is none.
        address_header: request header in which a proxy names the visitor's network address; None
            where visitors connect by themselves.
        allowed_hosts: names, besides its own, by which browsers may ask for this server, separated
            by commas; `*.name` for all below a name, `*` for any.
        request_seconds: within which a request's header must be complete, and for which its body
            may pause.
        read_only: whether visitors may look at what is there and change nothing.
        keep_days: after which runs that have ended are deleted, shipped ones excepted; None for
            never.
        limits: what visitors may ask for.
    """

    model_config = ConfigDict(frozen=True)

    home: Folder
    database_url: str = ""
    weights_dir: Folder | None = None
    scheduler: str | None = None
    workers: int = Field(default=1, ge=1)
    threads: int | None = Field(default=None, ge=1, le=_MOST_THREADS)
    niceness: int = Field(default=5, ge=0, le=19)
    worker_memory_bytes: int | None = Field(default=None, ge=GIB)
    concurrent_runs: int = Field(default=8, ge=1)
    features_dir: Folder | None = None
    checkpoints_dir: Folder = Path()
    feature_disk_bytes: int = Field(default=8 * GIB, ge=0)
    feature_bytes: int = Field(default=2 * GIB, ge=0)
    user_header: str | None = None
    address_header: str | None = None
    allowed_hosts: str = ""
    request_seconds: float = Field(default=20, gt=0, le=3600)
    read_only: bool = False
    keep_days: float | None = Field(default=None, gt=0)
    limits: Limits = Limits()

    @property
    def threads_each(self) -> int:
        """With how many threads each worker computes."""
        if self.threads is not None:
            return self.threads
        # What takes long to import is needed by workers alone.
        from dask.system import cpu_count

        # Containers, and whoever binds a process to some, leave fewer than the machine has.
        return max(cpu_count() // self.workers, 1)

    def check_may_change(self) -> None:
        """Raise `Refused` where visitors may only look."""
        if self.read_only:
            raise Refused(
                "this installation is for looking only (ASI_READ_ONLY): launch runs in one of "
                "your own."
            )

    @model_validator(mode="before")
    @classmethod
    def _by_default(cls, given: Any) -> Any:
        home = _resolved(given["home"])
        places = {
            "database_url": f"sqlite:///{home / 'asi.sqlite'}",
            "checkpoints_dir": home / "checkpoints",
        }
        return {**places, **given}

    @model_validator(mode="after")
    def _workers_reach_the_store(self) -> Self:
        if self.scheduler is not None and self.database_url.startswith("sqlite"):
            raise InvalidInput(
                "workers of a Dask scheduler need a store that they reach over the network",
                "ASI_SCHEDULER with a SQLite store",
                "set ASI_DATABASE_URL to a PostgreSQL database",
            )
        return self


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings that the environment asks for.

    Raises:
        InvalidInput: if a variable has a value that it cannot have, or they do not fit together.
    """
    asked = (os.environ if environment is None else environment).items()
    return _read(frozenset((n, value) for n, value in asked if n.startswith(_PREFIX) and value))


# Pages ask many times for each visitor.
@lru_cache(maxsize=8)
def _read(variables: frozenset[tuple[str, str]]) -> Settings:
    given = {name.removeprefix(_PREFIX).lower(): value for name, value in variables}
    known: dict[str, Any] = {name: given[name] for name in Settings.model_fields if name in given}
    known.setdefault("home", _HOME)
    known["home"] = _resolved(known["home"])
    known.setdefault("features_dir", known["home"] / "features")
    known["limits"] = {
        name: given[f"max_{name}"] for name in Limits.model_fields if f"max_{name}" in given
    }
    try:
        return Settings.model_validate(known)
    except ValidationError as error:
        raise _message(error) from None


def _message(error: ValidationError) -> InvalidInput:
    detail = error.errors(include_url=False)[0]
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, InvalidInput):
        return cause
    *group, name = (str(part) for part in detail["loc"])
    variable = _PREFIX + ("MAX_" if group else "") + name.upper()
    rule = detail["msg"][0].lower() + detail["msg"][1:]
    return InvalidInput(f"{variable}: {rule}", repr(detail["input"]), "change or unset it")
