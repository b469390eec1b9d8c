"""How many look at what is going, and how often each of them is shown what is new."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from streamlit.runtime.scriptrunner import get_script_run_ctx

# Up to so many are shown everything as soon as it is there. Worker and server may share two cores:
# more than that have to wait longer, so that the runs they look at do not.
_AT_ONCE = 4
_GONE_SECONDS = 60.0


class Audience:
    """Sessions that have been shown something of late."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._guard = clock, Lock()
        self._seen: dict[str, float] = {}

    def is_shown(self, session: str) -> None:
        """Say that a session has just been shown something."""
        now = self._clock()
        with self._guard:
            self._seen[session] = now
            for name in [n for n, at in self._seen.items() if now - at > _GONE_SECONDS]:
                del self._seen[name]

    @property
    def slowness(self) -> float:
        """By how much longer everybody has to wait than somebody who is alone."""
        with self._guard:
            return max(1.0, len(self._seen) / _AT_ONCE)


_audience = Audience()


def slowness() -> float:
    """As `Audience.slowness`, of this server, whose visitor is being shown something."""
    context = get_script_run_ctx()
    if context is not None:
        _audience.is_shown(context.session_id)
    return _audience.slowness
