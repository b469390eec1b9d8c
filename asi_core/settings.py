"""Settings of the installation (paths, resources, limits), read from environment variables."""

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
# The folder of `app.py` and its pages. An installed package contains them and its data.
_INSTALLED_APP = _PACKAGE / "_app"
_IS_CHECKOUT = not _INSTALLED_APP.is_dir()
APP = PROJECT if _IS_CHECKOUT else _INSTALLED_APP
DATA = PROJECT / "data" if _IS_CHECKOUT else _PACKAGE / "_data"
_HOME = DATA / "home" if _IS_CHECKOUT else Path("~/.asi-lab")

_PREFIX = "ASI_"


# More than any machine has. PyTorch stores the number as a 32-bit integer.
_MOST_THREADS = 4096


def _resolved(value: Any) -> Any:
    if not isinstance(value, (str, Path)):
        return value
    try:
        return Path(value).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        # No home folder for "~", a link to itself, or an invalid name.
        raise InvalidInput(
            "a folder must have a valid path",
            repr(str(value)),
            str(error).rstrip("."),
        ) from None


Folder = Annotated[Path, BeforeValidator(_resolved)]


class Limits(BaseModel):
    """Limits on users' requests, enforced where runs are queued.

    Attributes:
        runs_per_owner: queued or active runs of one owner (`ASI_MAX_RUNS_PER_OWNER`).
        runs_per_network: queued or active runs from one network address, whatever its users'
            names (`ASI_MAX_RUNS_PER_NETWORK`).
        runs: queued or active runs of all owners together (`ASI_MAX_RUNS`).
        questions_per_owner, questions_per_network, questions: the same limits for queued jobs
            other than runs (`ASI_MAX_QUESTIONS_PER_OWNER`, `ASI_MAX_QUESTIONS_PER_NETWORK`,
            `ASI_MAX_QUESTIONS`).
        steps: training steps of one run (`ASI_MAX_STEPS`).
        image_size: image size of one run, pixels (`ASI_MAX_IMAGE_SIZE`).
        run_seconds: duration of one run, seconds (`ASI_MAX_RUN_SECONDS`).
        session_files, session_bytes: uploaded files that the server holds in memory for one
            browser window (`ASI_MAX_SESSION_FILES`, `ASI_MAX_SESSION_BYTES`).
        held_bytes: uploaded bytes of all windows together (`ASI_MAX_HELD_BYTES`); one network
            address may use half of them.
        run_bytes: estimated memory of one run (`ASI_MAX_RUN_BYTES`); None for the memory of the
            worker's machine.
    """

    model_config = ConfigDict(frozen=True)

    runs_per_owner: int = Field(default=48, ge=1)
    # Half of `runs`: enough for a class behind one address, but one address cannot fill the queue.
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
    """Settings of this installation, each read from the environment variable `ASI_<NAME>`.

    Attributes:
        home: folder of the store and of everything that is computed.
        weights_dir: folder that is searched first for models' checkpoints.
        database_url: the store; by default SQLite in `home`.
        device: name of the device on which everything is trained and measured, as PyTorch calls it
            ("cpu", "cuda", "cuda:1"); None for the accelerator that PyTorch detects, or the CPU.
        scheduler: address of a Dask scheduler whose workers execute the runs; None to start
            workers on this machine.
        workers: number of worker processes on this machine.
        threads: threads per worker; None to share the processors (`threads_each`).
        niceness: Unix niceness of the workers, from 0 to 19.
        worker_memory_bytes: memory at which a worker is stopped; by default they share the
            machine's memory.
        concurrent_runs: runs that alternate in one worker.
        features_dir: folder of the cache of frozen features, shared by processes and kept across
            restarts; by default in `home`; None for no cache on disk.
        checkpoints_dir: folder of the checkpoints from which active runs resume; by default in
            `home`.
        checkpoint_bytes: maximum size of the checkpoints of completed runs, from which they can be
            lengthened; the oldest are removed first; 0 for none.
        feature_disk_bytes: maximum size of the features on disk; 0 for none.
        feature_bytes: maximum memory of frozen features in one process, where they are not on
            disk.
        user_header: request header in which a proxy passes the user's name; None if there is none.
        address_header: request header in which a proxy passes the user's network address; None
            if users connect directly.
        allowed_hosts: additional host names under which browsers may request this server,
            separated by commas; `*.name` for all subdomains, `*` for any.
        request_seconds: seconds within which a request's header must be complete, and for which
            its body may pause.
        read_only: whether users may only view results and change nothing.
        keep_days: days after which ended runs are deleted, except shipped ones; None for never.
        models: names of models beyond the zoo and torchvision that users may choose, separated by
            commas: `timm/NAME`, `hf/ID`, `FILE.py:FUNCTION`.
        tensorboard_dir: folder into which TensorBoard's event files of runs are written as they are
            trained; None for none.
        listeners: what else follows runs, separated by commas: `MODULE:NAME`, imported by workers
            (`runs.engine.listeners`).
        limits: limits on users' requests.
    """

    model_config = ConfigDict(frozen=True)

    home: Folder
    database_url: str = ""
    weights_dir: Folder | None = None
    device: str | None = None
    scheduler: str | None = None
    workers: int = Field(default=1, ge=1)
    threads: int | None = Field(default=None, ge=1, le=_MOST_THREADS)
    niceness: int = Field(default=5, ge=0, le=19)
    worker_memory_bytes: int | None = Field(default=None, ge=GIB)
    concurrent_runs: int = Field(default=8, ge=1)
    features_dir: Folder | None = None
    checkpoints_dir: Folder = Path()
    checkpoint_bytes: int = Field(default=2 * GIB, ge=0)
    feature_disk_bytes: int = Field(default=8 * GIB, ge=0)
    feature_bytes: int = Field(default=2 * GIB, ge=0)
    user_header: str | None = None
    address_header: str | None = None
    allowed_hosts: str = ""
    request_seconds: float = Field(default=20, gt=0, le=3600)
    read_only: bool = False
    keep_days: float | None = Field(default=None, gt=0)
    models: str = ""
    tensorboard_dir: Folder | None = None
    listeners: str = ""
    limits: Limits = Limits()

    @property
    def threads_each(self) -> int:
        """Threads per worker."""
        if self.threads is not None:
            return self.threads
        # Slow to import, and only workers need it.
        from dask.system import cpu_count

        # Respects the limits of containers and CPU affinity.
        return max(cpu_count() // self.workers, 1)

    def check_may_change(self) -> None:
        """Raise `Refused` if this installation is read-only."""
        if self.read_only:
            raise Refused(
                "this installation is read-only (ASI_READ_ONLY): launch runs on your own "
                "installation."
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
    """The settings of the environment variables.

    Raises:
        InvalidInput: if a variable has an invalid value, or they contradict each other.
    """
    found = (os.environ if environment is None else environment).items()
    return _read(frozenset((n, value) for n, value in found if n.startswith(_PREFIX) and value))


# Pages read the settings many times per request.
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
