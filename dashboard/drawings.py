"""Figures that many visitors are shown: each is drawn once a server."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock

from asi_core.figures.style import Drawing, Figure

# A figure of five curves has some 60 kB.
_MOST = 200


class Drawings:
    """The figures that were drawn last, by what they show."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._drawn: OrderedDict[Hashable, Future[Drawing]] = OrderedDict()

    def get(self, key: Hashable, plot: Callable[[], Figure]) -> Drawing:
        """The figure of `key`, by `plot` if nobody was shown it of late.

        Args:
            key: the same only for the same figure.
        """
        with self._guard:
            known = self._drawn.get(key)
            asked = self._drawn[key] = known or Future()
            self._drawn.move_to_end(key)
            if len(self._drawn) > _MOST:
                self._drawn.popitem(last=False)
        if known is None:
            self._draw(key, plot, asked)
        # Those who come while somebody draws wait for that.
        return asked.result()

    def _draw(self, key: Hashable, plot: Callable[[], Figure], asked: Future[Drawing]) -> None:
        try:
            asked.set_result(json.loads(plot().to_json()))
        # Whoever waits must be told, also when the page of who draws is stopped meanwhile.
        except BaseException as error:
            with self._guard:
                self._drawn.pop(key, None)
            asked.set_exception(error)


drawings = Drawings()
