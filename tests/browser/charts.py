"""The app with live charts, and actions on its page."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, ViewportSize, expect

from tests.browser.app import ROOT, Server, free_port
from tests.waiting import wait_for

WIDE: ViewportSize = {"width": 1440, "height": 1400}
NARROW: ViewportSize = {"width": 390, "height": 900}
# Where a point of the first chart is in the window.
PLACE = """([trace, index]) => {
    const plot = document.querySelector('.js-plotly-plot');
    const {xaxis, yaxis} = plot._fullLayout, {x, y} = plot._fullData[trace];
    const corner = plot.getBoundingClientRect();
    return [corner.left + xaxis._offset + xaxis.d2p(x[index]),
            corner.top + yaxis._offset + yaxis.d2p(y[index])];
}"""


@contextmanager
def running_charts(home: Path) -> Iterator[Server]:
    """The app on a free port of the loopback address; its log goes to `home`."""
    port = free_port()
    script = "tests/browser/apps/live_chart_app.py"
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.headless", "true"]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--server.port", str(port)],
            cwd=ROOT,
            env=dict(os.environ),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", home, process)
    try:
        wait_for(server.answers, 180, "the server's first answer")
        yield server
    finally:
        server.stop()


class Charts:
    """The page with its requests, responses and log."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.received: list[bytes] = []
        page.on("console", lambda m: self.problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", lambda socket: socket.on("framereceived", self._receive))

    def open(self, url: str) -> None:
        """Reload the page, in a wide window and the light theme."""
        self.page.set_viewport_size(WIDE)
        self.page.emulate_media(color_scheme="light")
        for notes in (self.problems, self.asked, self.received):
            notes.clear()
        self.page.goto(url)
        wait_for(lambda: self.points() == 5, 180, "the first chart")

    def _receive(self, frame: str | bytes) -> None:
        self.received.append(frame if isinstance(frame, bytes) else frame.encode())

    def first(self, expression: str) -> Any:
        """The value of a JavaScript expression of `plot`, the first chart."""
        find = "const plot = document.querySelector('.js-plotly-plot');"
        return self.page.evaluate(f"(() => {{ {find} return plot && ({expression}); }})()")

    def points(self) -> int:
        return int(self.first("plot.data ? plot.data[0].x.length : 0") or 0)

    def grow(self) -> None:
        """Add a point by the page's button, and wait until it is drawn."""
        more = self.points() + 1
        self.page.get_by_role("button", name="Grow").click()
        wait_for(lambda: self.points() == more, 180, f"{more} points")

    def await_end_of_run(self) -> None:
        app = self.page.get_by_test_id("stApp")
        expect(app).to_have_attribute("data-test-script-state", "notRunning")

    def place(self, trace: int, index: int) -> tuple[float, float]:
        x, y = self.page.evaluate(PLACE, [trace, index])
        return x, y

    def click(self, trace: int, index: int) -> None:
        """Click on a point, as soon as the chart has noticed the mouse."""
        place = self.place(trace, index)
        self.page.mouse.move(*place)
        known = (
            f"plot._hoverdata?.some(p => p.curveNumber === {trace} && p.pointNumber === {index})"
        )
        wait_for(lambda: self.first(known), 180, "the point under the mouse")
        self.page.mouse.click(*place)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one place and move to another."""
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*end, steps=8)

    def zoom(self) -> list[float]:
        """Drag a box around the points between the first and the fourth; the range on x."""
        left, right = self.place(0, 1), self.place(1, 3)
        self.drag((left[0] - 30, left[1] + 5), (right[0] + 30, right[1] - 5))
        self.page.mouse.up()
        wait_for(lambda: self.range()[1] < 3.5, 180, "the zoom")
        return self.range()

    def range(self) -> list[float]:
        return [float(end) for end in self.first("plot._fullLayout.xaxis.range")]

    def legend(self, name: str) -> Locator:
        return self.page.get_by_role("group", name="Growing curves").get_by_role(
            "button", name=f"Show {name}"
        )
