// Download of a figure as it is shown, but on white.

import { fitted } from "./figure.js";
import { paperTheme, template } from "./theme.js";
import { plainTitle } from "./title.js";

/** Buttons of the mode bar; `current()` returns what is shown. */
export function downloadButtons(plotly, current) {
  const button = (format, title, icon) => ({
    name: `download-${format}`,
    title,
    icon,
    click: () => save(plotly, current(), format),
  });
  return [
    button("png", "Download as PNG", plotly.Icons.camera),
    button("svg", "Download as SVG", plotly.Icons.disk),
  ];
}

function save(plotly, { plot, traces, layout, theme }, format) {
  const paper = template(paperTheme(theme), plot._fullLayout.font.size);
  paper.layout.paper_bgcolor = paper.layout.plot_bgcolor = "#FFFFFF";
  const { width, height } = plot.layout;
  const figure = {
    // Zoom and hidden traces as the visitor sees them, colours as the server sent them.
    data: fitted(traces, theme, width).map((trace, i) => ({ ...trace, visible: plot.data[i].visible })),
    layout: { ...plot.layout, ...pick(layout, ["shapes", "annotations"]), template: paper },
  };
  const filename = plainTitle(layout).replace(/[^\p{L}\p{N}]+/gu, "_").replace(/^_|_$/g, "");
  const scale = format === "png" ? 2 : 1;
  return plotly.downloadImage(figure, { format, filename, width, height, scale });
}

function pick(object, names) {
  const found = names.filter((name) => name in object);
  return Object.fromEntries(found.map((name) => [name, object[name]]));
}
