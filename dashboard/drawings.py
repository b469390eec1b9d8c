"""Figures that many visitors are shown: each is drawn once a server."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

from asi_core.figures.style import Drawing, Figure

# A figure of five curves has some 60 kB.
_MOST = 200


class Drawings:
    """The figures that were drawn last, by what they show."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._drawn: OrderedDict[Hashable, Drawing] = OrderedDict()

    def get(self, key: Hashable, plot: Callable[[], Figure]) -> Drawing:
        """The figure of `key`, by `plot` if nobody was shown it of late.

        Args:
            key: the same only for the same figure.
        """
        with self._guard:
            if key in self._drawn:
                self._drawn.move_to_end(key)
                return self._drawn[key]
        drawing: Drawing = json.loads(plot().to_json())
        with self._guard:
            self._drawn[key] = drawing
            if len(self._drawn) > _MOST:
                self._drawn.popitem(last=False)
        return drawing


drawings = Drawings()
