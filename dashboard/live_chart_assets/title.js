// The title of a figure: as plain text, and in lines that fit.

const DEFAULT_SIZE = 17;
const DEFAULT_MARGIN = 100;
const LINE_HEIGHT = 1.3;

/** The title as plain text; plotly's own markup is left out. */
export function plainTitle({ title }) {
  return (title?.text ?? "").replace(/<br\s*\/?>/g, " ").replace(/<[^>]*>/g, "") || "Chart";
}

/** What to change in `layout` so that its title fits into `width` pixels. */
export function fittedTitle({ title, margin }, width, family) {
  // A title with markup has been laid out by its author.
  if (!title?.text || title.text.includes("<")) return {};
  const size = title.font?.size ?? DEFAULT_SIZE;
  const lines = wrapped(title.text, width, `${size}px ${title.font?.family ?? family}`);
  if (lines.length === 1) return {};
  const top = margin?.t ?? DEFAULT_MARGIN;
  // The first line is placed like a title of one line: in the middle of the margin.
  const place = { yref: "container", y: 1, yanchor: "top", pad: { t: top / 2 } };
  return {
    title: { ...title, ...place, text: lines.join("<br>") },
    margin: { ...margin, t: top + (lines.length - 1) * size * LINE_HEIGHT },
  };
}

function wrapped(text, width, font) {
  const context = document.createElement("canvas").getContext("2d");
  context.font = font;
  const lines = [];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`;
    const fits = lines.length && context.measureText(longer).width <= width;
    if (fits) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}
