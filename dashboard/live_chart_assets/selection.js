// The points that a visitor has clicked or selected, as plain values.

/** Call `report` with the points of every click and selection; with none when it is cleared. */
export function watchSelection(plot, report) {
  // A click on a marker fires a click and a selection event: the selection counts, because with
  // shift held it is the larger.
  let clicked = null;
  let selected = null;
  const later = () =>
    queueMicrotask(() => {
      const points = selected ?? clicked;
      clicked = selected = null;
      if (points) report(points);
    });
  plot.on("plotly_click", ({ points }) => {
    clicked = points.map(plain);
    later();
  });
  plot.on("plotly_selected", (event) => {
    if (!event) return;
    const { points, range, lassoPoints } = event;
    selected = points.length || range || lassoPoints ? points.map(plain) : null;
    later();
  });
  plot.on("plotly_deselect", () => {
    selected = [];
    later();
  });
}

/** Call `report` with the point of every click. */
export function watchClicks(plot, report) {
  plot.on("plotly_click", ({ points }) => points.length && report(plain(points[0])));
}

function plain({ curveNumber, pointIndex, pointNumber, customdata = null, x, y }) {
  return { trace: curveNumber, index: pointIndex ?? pointNumber, customdata, x, y };
}
