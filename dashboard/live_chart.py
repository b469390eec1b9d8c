"""A plotly chart that is updated in place.

`st.plotly_chart` builds a new chart whenever its figure changes, and loses zoom, legend choices and
selection. Here the browser keeps the chart and only receives the new figure. plotly.js comes from
the installed plotly package, over this server, once per page.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import streamlit as st
from streamlit.components.v2.component_manager import BidiComponentManager
from streamlit.components.v2.get_bidi_component_manager import get_bidi_component_manager
from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest
from streamlit.components.v2.types import ComponentRenderer

from asi_core.errors import InvalidInput
from asi_core.figures.style import DARK_COLORS, Drawing, Figure

MOST_POINTS, MOST_LEGEND_ENTRIES = 5000, 10

# The folders are served as <project>.<component>; live_chart.js finds plotly.js by this name.
_PROJECT, _CHART, _LIBRARY = "asi_lab", "live_chart", "plotly_js"
_DEFAULT_HEIGHT = 340
_REGISTERING = Lock()


def live_chart(
    figure: Figure | Drawing,
    *,
    key: str,
    height: int | None = None,
    on_select: Callable[[], None] | None = None,
    on_click: Callable[[dict[str, Any]], None] | None = None,
    on_drawn: Callable[[str], None] | None = None,
    drawn_token: str = "",
) -> list[dict[str, Any]] | None:
    """Draw a figure, or update the chart with this key.

    Zoom, pan, hidden traces, hover and selection stay while the data change, unless the figure's
    `uirevision` changes. Traces are matched by `uid`, else by name. Colours of text, grid and
    background come from the page; the figure's template is not used. Downloads are on white.

    Args:
        figure: at most `MOST_POINTS` values of x or y per trace.
        height: pixels; default: the figure's own height.
        on_select: called when the selection changes, before the script runs again; it reads the
            points from `st.session_state[key]["selection"]`. Without it, clicks trigger no rerun.
        on_click: called with the point that is clicked, as in the selection, before the script runs
            again; the same point may be clicked again. Not together with `on_select`.
        on_drawn: called with `drawn_token` when the browser has drawn the figure.
        drawn_token: identifies this figure: `on_drawn` is called once each time it changes.

    Returns:
        With `on_select`, the points that are clicked or selected, each with `trace` and `index`
        (both 0-based), `customdata`, `x` and `y`; empty if there are none. Otherwise None.

    Raises:
        InvalidInput: if a trace has too many points.
    """
    data = chart_data(figure, height, selectable=on_select is not None)
    data["clickable"] = on_click is not None
    data["tells_when_drawn"] = None if on_drawn is None else drawn_token
    draw = _renderer(get_bidi_component_manager())
    notify = None if on_drawn is None else partial(_tell, key, "drawn", on_drawn)
    clicked = None if on_click is None else partial(_tell, key, "clicked", on_click)
    result = draw(
        key=key,
        data=data,
        on_selection_change=on_select,
        on_drawn_change=notify,
        on_clicked_change=clicked,
    )
    return None if on_select is None else result.get("selection") or []


def _tell(key: str, what: str, listener: Callable[[Any], None]) -> None:
    """Call a listener with what the browser said, unless the visitor has left the page meanwhile:
    then the chart and its state are gone."""
    state = st.session_state.get(key)
    if state is not None:
        listener(state[what])


def chart_data(figure: Figure | Drawing, height: int | None, *, selectable: bool) -> dict[str, Any]:
    """The data sent to the browser: JSON values only; numbers that are not finite become null."""
    drawn = figure if isinstance(figure, dict) else json.loads(figure.to_json())
    _refuse_too_many_points(drawn["data"])
    # The template is seven kilobytes of style, which the page provides.
    layout = {name: value for name, value in drawn["layout"].items() if name != "template"}
    if _legend_entries(drawn["data"]) > MOST_LEGEND_ENTRIES:
        # A legend of many entries takes more room than the figure; the hover names each trace.
        layout["showlegend"] = False
    return {
        "traces": drawn["data"],
        "layout": layout,
        "height": height or layout.get("height") or _DEFAULT_HEIGHT,
        "selectable": selectable,
        "dark_colors": DARK_COLORS,
    }


def _legend_entries(traces: list[dict[str, Any]]) -> int:
    return len({trace.get("name") for trace in traces if trace.get("showlegend") is not False})


def _refuse_too_many_points(traces: list[dict[str, Any]]) -> None:
    for trace in traces:
        count = max((_length(trace[axis]) for axis in ("x", "y") if axis in trace), default=0)
        if count > MOST_POINTS:
            raise InvalidInput(
                f"a live chart draws at most {MOST_POINTS} points per trace",
                count,
                "thin the trace before it is drawn",
            )


def _length(values: Any) -> int:
    """The length of a list, or of an array that plotly has packed as base64."""
    if isinstance(values, dict):
        return len(b64decode(values["bdata"])) // np.dtype(values["dtype"]).itemsize
    return len(values)


def _renderer(manager: BidiComponentManager) -> ComponentRenderer:
    """The component, registered with this server."""
    # Two visitors may be the first at the same time.
    with _REGISTERING:
        return _registered(manager)


@lru_cache(maxsize=1)
def _registered(manager: BidiComponentManager) -> ComponentRenderer:
    component = f"{_PROJECT}.{_CHART}"
    if manager.get_component_asset_root(component) is None:
        _serve(manager, _LIBRARY, Path(str(files("plotly"))), "package_data")
        _serve(manager, _CHART, Path(__file__).parent, "live_chart_assets")
    return st.components.v2.component(
        component, js="live_chart.js", css="live_chart.css", isolate_styles=False
    )


def _serve(manager: BidiComponentManager, name: str, package: Path, folder: str) -> None:
    """Serve a package's folder like the assets of an installed component.

    Streamlit reads this declaration only from the pyproject.toml of installed packages, and an app
    that runs from its folder is not installed.
    """
    manifest = ComponentManifest(_PROJECT, "0", [ComponentConfig(name, folder)])
    manager.register_from_manifest(manifest, package)
