// The style of a figure on its page, and on paper.

const PAPER = { text: "#262730", background: "#FFFFFF", raised: "#F3F5F7" };

/** The page's theme at `element`. */
export function pageTheme(element) {
  const style = getComputedStyle(element);
  const property = (name) => style.getPropertyValue(name).trim();
  return {
    text: property("--st-text-color"),
    background: property("--st-background-color"),
    raised: property("--st-secondary-background-color"),
    cycle: property("--st-chart-categorical-colors").split(",").filter(Boolean),
    font: style.fontFamily,
    // How large the page's text is: a presentation enlarges it.
    scale: parseFloat(getComputedStyle(document.documentElement).fontSize) / 16,
  };
}

/** The same on white, for figures that leave the page. */
export function paperTheme(theme) {
  return { ...theme, ...PAPER };
}

export function isDark(theme) {
  const [red, green, blue] = channels(theme.background);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 128;
}

/** A template with text of `size` pixels; the figure's own layout takes precedence. */
export function template(theme, size) {
  const axis = {
    automargin: true,
    gridcolor: faded(theme.text, 0.14),
    linecolor: faded(theme.text, 0.45),
    tickcolor: faded(theme.text, 0.45),
    zerolinecolor: faded(theme.text, 0.3),
    title: { standoff: 10 },
  };
  const nothing = faded(theme.background, 0);
  return {
    layout: {
      font: { family: theme.font, color: theme.text, size },
      paper_bgcolor: nothing,
      plot_bgcolor: nothing,
      colorway: theme.cycle,
      colorscale: { sequential: "Viridis", diverging: "RdBu" },
      hoverlabel: {
        bgcolor: theme.raised,
        bordercolor: faded(theme.text, 0.45),
        font: { family: theme.font, color: theme.text },
      },
      legend: { bgcolor: nothing },
      newselection: { line: { color: theme.text } },
      selectiondefaults: { line: { color: theme.text } },
      modebar: {
        bgcolor: faded(theme.background, 0.85),
        color: faded(theme.text, 0.7),
        activecolor: theme.text,
      },
      xaxis: axis,
      yaxis: axis,
    },
  };
}

/** `value`, a part of a figure, with its colours replaced by those in `colors`. */
export function recoloured(value, colors, isColor = false) {
  if (typeof value === "string") return (isColor && colors[value.toUpperCase()]) || value;
  if (Array.isArray(value)) return value.map((item) => recoloured(item, colors, isColor));
  if (value === null || typeof value !== "object") return value;
  const parts = Object.entries(value).map(([name, part]) => [
    name,
    recoloured(part, colors, name.endsWith("color")),
  ]);
  return Object.fromEntries(parts);
}

function faded(color, opacity) {
  return `rgba(${channels(color).join(", ")}, ${opacity})`;
}

const known = new Map();

/** Red, green and blue from 0 to 255 of any colour that CSS knows. */
function channels(color) {
  if (!known.has(color)) known.set(color, measured(color));
  return known.get(color);
}

function measured(color) {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}
