// Conversion of what the server sent into the input of plotly.js.

import { isDark, recoloured, template } from "./theme.js";
import { fittedTitle } from "./title.js";

// Below this width of a subplot the figure scrolls sideways instead of getting narrower.
const NARROWEST_SUBPLOT = 150;

// Below NARROW pixels of width, the SMALL font size, so that category labels do not touch.
const [NARROW, SMALL, NORMAL] = [300, 10, 12];

const SELECTING = ["select2d", "lasso2d"];
const ZOOMING = ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"];
// Of plotly's toolbar: how many buttons are added, a button's width, and all gaps together.
const [DOWNLOADS, BUTTON, GAPS] = [3, 30, 30];
// Below this width the toolbar would leave no room for the title.
const ROOMY = 380;

/** Traces and layout in a theme, `width` pixels wide. The input is not changed. */
export function themed({ traces, layout, dark_colors, height, selectable }, theme, width) {
  const colors = isDark(theme) ? dark_colors : {};
  const shown = enlarged(recoloured(layout, colors), theme.scale);
  return {
    data: named(enlarged(recoloured(fitted(traces, theme, width), colors), theme.scale)),
    layout: {
      uirevision: "keep",
      ...(selectable && { clickmode: "event+select" }),
      // On touch screens, dragging scrolls the page.
      ...(isTouched() && { dragmode: false }),
      ...shown,
      ...fittedTitle(shown, width - toolbarWidth(selectable, width), theme.font),
      template: template(theme, theme.scale * (width < NARROW ? SMALL : NORMAL)),
      // No animations: plotly.js loses selections during transitions.
      transition: undefined,
      autosize: false,
      width,
      height: height * theme.scale,
    },
  };
}

/** Traces with what they have for a figure of this width, if they have anything (in_narrow). */
export function fitted(traces, theme, width) {
  return traces.map((trace) => {
    const narrow = trace.meta?.narrow;
    return narrow && width / theme.scale < narrow.below ? { ...trace, ...narrow.changes } : trace;
  });
}

export function config(selectable, addedButtons, width) {
  return {
    displaylogo: false,
    // Nothing leaves this machine.
    showSendToCloud: false,
    plotlyServerURL: "",
    showTips: false,
    modeBarButtonsToRemove: ["toImage", "autoScale2d", ...leftOut(selectable, width)],
    modeBarButtonsToAdd: addedButtons,
  };
}

/** `value`, a part of a figure, with the sizes of its texts and its margins multiplied. */
function enlarged(value, scale, inside = "") {
  if (scale === 1 || value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((part) => enlarged(part, scale, inside));
  const parts = Object.entries(value).map(([name, part]) => {
    const isSize = inside === "margin" || (/font$/i.test(inside) && name === "size");
    return [name, isSize && typeof part === "number" ? part * scale : enlarged(part, scale, name)];
  });
  return Object.fromEntries(parts);
}

/** Buttons that a figure does not need; by touch, one scrolls instead of zooming and selecting. */
function leftOut(selectable, width) {
  if (hasFewButtons(width)) return [...ZOOMING, ...SELECTING];
  return selectable ? [] : SELECTING;
}

function hasFewButtons(width) {
  return isTouched() || width < ROOMY;
}

/** Pixels at the right of the title that are free for the buttons. */
function toolbarWidth(selectable, width) {
  const all = ZOOMING.length + (selectable ? SELECTING.length : 0);
  return GAPS + BUTTON * (DOWNLOADS + (hasFewButtons(width) ? 0 : all));
}

function isTouched() {
  return matchMedia("(pointer: coarse)").matches;
}

/** The minimum width of a figure, in pixels. */
export function narrowest(layout) {
  const starts = Object.entries(layout)
    .filter(([name]) => /^xaxis\d*$/.test(name))
    .map(([, axis]) => axis.domain?.[0] ?? 0);
  const columns = new Set(starts).size;
  return columns > 1 ? columns * NARROWEST_SUBPLOT : 0;
}

/** Traces with ids from their names: hidden traces and selections survive when others change. */
function named(traces) {
  const seen = new Map();
  return traces.map((trace) => {
    const name = `${trace.type} ${trace.name ?? ""} ${trace.xaxis ?? "x"}`;
    const nth = (seen.get(name) ?? 0) + 1;
    seen.set(name, nth);
    return { uid: word(`${name} ${nth}`), ...trace };
  });
}

/** `text` as letters, digits and underscores: plotly.js makes class names of it. */
function word(text) {
  return text.replace(/[^A-Za-z0-9]/gu, (char) => `_${char.codePointAt(0).toString(16)}`);
}
