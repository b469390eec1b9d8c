"""Following runs as they are trained: the hook for Weights & Biases, MLflow and programs of one's
own.

A listener is made for each attempt at a run and learns what is stored of it, in the process that
trains it. Workers find listeners in `ASI_LISTENERS` and in the entry points `asi_lab.listeners`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any, Protocol, TypeAlias, TypeVar

from asi_core.errors import InvalidInput, one_sentence
from asi_core.registry import Registry
from asi_core.runs.engine.event_files import EventFiles
from asi_core.runs.records import RunRecord
from asi_core.settings import read_settings
from asi_core.training.events import Event

log = logging.getLogger(__name__)

_GROUP = "asi_lab.listeners"


class RunListener(Protocol):
    """Follows one attempt at a run, in the order of its events.

    Its methods are called in the run's thread and should return soon. One that raises an error is
    not called again; the run goes on, and its log has the error.
    """

    def on_event(self, event: Event, /) -> None:
        """Called for every event, beginning with those that the attempt resumes from."""

    def on_end(self, status: str, summary: dict[str, Any] | None, /) -> None:
        """Called once, at the end of the attempt.

        Args:
            status: "completed", "cancelled" or "failed"; "interrupted" if another attempt may
                resume the run.
            summary: as `training.summary`; None if it was interrupted.
        """


# Makes the listener of a run: usually a class.
MakeListener: TypeAlias = Callable[[RunRecord], RunListener]
Maker = TypeVar("Maker", bound=MakeListener)


def _name_of(make: Any) -> str:
    if not callable(make):
        raise InvalidInput(
            "a listener must be a class, or a function of a run", repr(make), "pass one"
        )
    return f"{make.__module__}:{make.__qualname__}"


LISTENERS: Registry[MakeListener] = Registry("listener", _GROUP, _name_of)


def register_listener(make: Maker) -> Maker:
    """Register what makes a listener of each run that this process trains from now on.

    For the workers of the app, name it in `ASI_LISTENERS` or in an entry point instead.

    Args:
        make: called with the run's record at the first event of each attempt.

    Raises:
        InvalidInput: if it cannot be called, or another one has its name.

    Example:
        >>> @asi_core.runs.register_listener
        ... class Printed:
        ...     def __init__(self, run): self.name = run.spec.method.label
        ...     def on_event(self, event): print(self.name, event.kind, event.step)
        ...     def on_end(self, status, summary): print(self.name, status)
    """
    LISTENERS.add(make)
    return make


class Listeners:
    """All listeners of one attempt at a run, made at its first event."""

    def __init__(self, run: RunRecord) -> None:
        self._run = run
        self._made: dict[str, RunListener] | None = None

    def tell(self, events: Iterable[Event]) -> None:
        """Pass events on, in their order."""
        if self._made is None:
            self._made = {}
            for name, make in _makers():
                self._try(name, partial(self._make, name, make))
        for event in events:
            for name, listener in tuple(self._made.items()):
                self._try(name, partial(listener.on_event, event))

    def end(self, status: str, summary: dict[str, Any] | None = None) -> None:
        """Pass the end on; a second call has no effect."""
        made, self._made = self._made or {}, {}
        for name, listener in made.items():
            self._try(name, partial(listener.on_end, status, summary))

    def _make(self, name: str, make: Callable[[], MakeListener]) -> None:
        assert self._made is not None
        self._made[name] = make()(self._run)

    def _try(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            # Whatever another program does, the run goes on.
            log.warning("%s does not follow this run: %s", name, one_sentence(error))
            if self._made is not None:
                self._made.pop(name, None)


def _makers() -> Iterator[tuple[str, Callable[[], MakeListener]]]:
    """What makes listeners, by name, loaded when it is called."""
    settings = read_settings()
    if settings.tensorboard_dir is not None:
        folder = settings.tensorboard_dir
        yield "TensorBoard", lambda: partial(EventFiles.of_run, folder)
    for name, make in LISTENERS.items():
        yield name, partial(_itself, make)
    for name in filter(None, map(str.strip, settings.listeners.split(","))):
        yield name, EntryPoint(name, name, _GROUP).load


def _itself(make: MakeListener) -> MakeListener:
    return make
