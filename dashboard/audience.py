"""How many visitors watch active runs, and how often each of them gets updates."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from streamlit.runtime.scriptrunner import get_script_run_ctx

# Up to this many visitors get updates at full rate. Worker and server may share two cores: with
# more visitors each waits longer, so that the runs are not slowed down.
_AT_ONCE = 4
_GONE_SECONDS = 60.0


class Audience:
    """The sessions that have recently been shown active runs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._guard = clock, Lock()
        self._seen: dict[str, float] = {}

    def is_shown(self, session: str) -> None:
        """Record that a session has just been shown a run."""
        now = self._clock()
        with self._guard:
            self._seen[session] = now
            for name in [n for n, at in self._seen.items() if now - at > _GONE_SECONDS]:
                del self._seen[name]

    @property
    def slowness(self) -> float:
        """The factor by which update intervals are longer than for a single visitor; at least 1."""
        with self._guard:
            return max(1.0, len(self._seen) / _AT_ONCE)


_audience = Audience()


def slowness() -> float:
    """`Audience.slowness` of this server; also records the current session."""
    context = get_script_run_ctx()
    if context is not None:
        _audience.is_shown(context.session_id)
    return _audience.slowness
