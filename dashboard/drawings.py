"""A cache of figures that many visitors see: each is drawn once per server."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock

from asi_core.figures.style import Drawing, Figure

# A figure of five curves takes about 60 kB.
_MOST = 200


class Drawings:
    """The latest figures by key."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._drawn: OrderedDict[Hashable, Future[Drawing]] = OrderedDict()

    def get(self, key: Hashable, plot: Callable[[], Figure]) -> Drawing:
        """The figure of `key`; `plot` draws it if it is not in the cache."""
        with self._guard:
            known = self._drawn.get(key)
            drawing = self._drawn[key] = known or Future()
            self._drawn.move_to_end(key)
            if len(self._drawn) > _MOST:
                self._drawn.popitem(last=False)
        if known is None:
            self._draw(key, plot, drawing)
        # Waits if another thread is drawing the same figure.
        return drawing.result()

    def _draw(self, key: Hashable, plot: Callable[[], Figure], drawing: Future[Drawing]) -> None:
        try:
            drawing.set_result(json.loads(plot().to_json()))
        # BaseException: the threads that wait must not hang if Streamlit stops this script run.
        except BaseException as error:
            with self._guard:
                self._drawn.pop(key, None)
            drawing.set_exception(error)


drawings = Drawings()
