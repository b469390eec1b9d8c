// Download of a figure as it is shown, but on white.

import { fitted } from "./figure.js";
import { print } from "./print.js";
import { paperTheme, template } from "./theme.js";
import { plainTitle } from "./title.js";

const PRINTER = {
  width: 24,
  height: 24,
  path: "M6 2h12v5H6zM2 8h20v9h-4v-4H6v4H2zM7.5 14.5h9V22h-9z",
};

/** Buttons of the mode bar; `current()` returns what is shown. */
export function downloadButtons(plotly, current) {
  const button = (name, title, icon, click) => ({ name, title, icon, click });
  const save = (format) => () => download(plotly, current(), format);
  const asPdf = () => print(plotly, onPaper(current()), fileName(current().layout));
  return [
    button("download-png", "Download as PNG", plotly.Icons.camera, save("png")),
    button("download-svg", "Download as SVG", plotly.Icons.disk, save("svg")),
    button("print", "Print, or save as PDF", PRINTER, asPdf),
  ];
}

function download(plotly, shown, format) {
  const figure = onPaper(shown);
  const { width, height } = figure.layout;
  const filename = fileName(shown.layout);
  const scale = format === "png" ? 2 : 1;
  return plotly.downloadImage(figure, { format, filename, width, height, scale });
}

function onPaper({ plot, traces, layout, theme }) {
  const paper = template(paperTheme(theme), plot._fullLayout.font.size);
  paper.layout.paper_bgcolor = paper.layout.plot_bgcolor = "#FFFFFF";
  const data = fitted(traces, theme, plot.layout.width);
  return {
    // Zoom and hidden traces as the visitor sees them, colours as the server sent them.
    data: data.map((trace, i) => ({ ...trace, visible: plot.data[i].visible })),
    layout: { ...plot.layout, ...pick(layout, ["shapes", "annotations"]), template: paper },
  };
}

function fileName(layout) {
  return plainTitle(layout).replace(/[^\p{L}\p{N}]+/gu, "_").replace(/^_|_$/g, "");
}

function pick(object, names) {
  const found = names.filter((name) => name in object);
  return Object.fromEntries(found.map((name) => [name, object[name]]));
}
