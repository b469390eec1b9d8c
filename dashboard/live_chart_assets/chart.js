// One chart: its element, its state, and when it is drawn.

import { downloadButtons } from "./download.js";
import { config, narrowest, themed } from "./figure.js";
import { makeLegendOperable } from "./legend.js";
import { plotly } from "./library.js";
import { watchClicks, watchSelection } from "./selection.js";
import { pageTheme } from "./theme.js";
import { plainTitle } from "./title.js";
import { drawInTurn } from "./turns.js";

const QUIET_MILLISECONDS = 250;

export class Chart {
  constructor(parent) {
    this.frame = document.createElement("div");
    this.frame.className = "live-chart";
    this.frame.role = "group";
    this.plot = document.createElement("div");
    this.frame.append(this.plot);
    parent.append(this.frame);
    this.stopping = new AbortController();
    this.draw = () => this.#draw();
    this.#watchSize();
    this.#watchPointer();
  }

  /**
   * Show what the server sent. `tell.select` is called with the points that a visitor selects,
   * `tell.click` with each that is clicked, and `tell.drawn` with the figure's token when it has been drawn, if the server sent one.
   */
  update(sent, tell) {
    this.sent = sent;
    this.tell = tell;
    clearTimeout(this.telling);
    // The theme of the last drawing: reading it has the page's style computed once more.
    this.frame.style.height = `${sent.height * (this.theme ?? pageTheme(this.frame)).scale}px`;
    this.frame.ariaLabel = plainTitle(sent.layout);
    this.#askToDraw();
  }

  remove() {
    this.removed = true;
    this.stopping.abort();
    this.resizer.disconnect();
    if (this.plotly && this.plot.data) this.plotly.purge(this.plot);
    this.frame.remove();
  }

  #askToDraw() {
    drawInTurn(this.draw);
  }

  async #draw() {
    if (this.removed) return;
    try {
      this.plotly ??= await plotly();
      // The same objects at each drawing: plotly.js starts over when a button changes.
      this.buttons ??= downloadButtons(this.plotly, () => this.#shown());
    } catch (error) {
      this.plot.textContent = `The chart cannot be drawn: ${error.message}. Reload the page.`;
      this.#tellThatDrawn();
      return;
    }
    // A hidden chart has no size, and a chart must not change while it is being dragged: both are
    // drawn afterwards.
    this.due = this.held || !this.frame.clientWidth;
    if (this.due || this.removed) return;
    this.theme = pageTheme(this.frame);
    this.frame.style.height = `${this.sent.height * this.theme.scale}px`;
    this.width = this.frame.clientWidth;
    if (this.#isNew()) this.#show();
    this.#tellThatDrawn();
  }

  /** Delayed, so that the server does no further work while a control is still being moved. */
  #tellThatDrawn() {
    const token = this.sent.tells_when_drawn;
    if (token === null || token === this.reported) return;
    clearTimeout(this.telling);
    this.telling = setTimeout(() => {
      this.reported = token;
      if (!this.removed) this.tell.drawn(token);
    }, QUIET_MILLISECONDS);
  }

  #show() {
    const first = !this.plot.data;
    if (first) this.plot.textContent = "";
    const wide = Math.max(this.width, narrowest(this.sent.layout));
    this.#makeScrollable(wide > this.width);
    this.frame.classList.toggle("clickable", Boolean(this.sent.clickable));
    const { data, layout } = themed(this.sent, this.theme, wide);
    // Not awaited: if the chart is removed meanwhile, plotly.js never settles the promise, and the
    // charts queued behind it would wait forever.
    this.plotly
      .react(this.plot, data, layout, config(this.sent.selectable, this.buttons, wide))
      .then(() => first && !this.removed && this.#watchPlot())
      .catch((error) => console.error(error));
  }

  /** Whether anything differs from what is drawn: every script run sends the whole figure again. */
  #isNew() {
    const { traces, layout, height, selectable } = this.sent;
    const state = JSON.stringify([traces, layout, height, selectable, this.theme, this.width]);
    const isNew = state !== this.drawn;
    this.drawn = state;
    return isNew;
  }

  #watchSize() {
    // In an animation frame: browsers log an error when a size changes inside the observer.
    this.resizer = new ResizeObserver(() =>
      requestAnimationFrame(() => {
        const { clientWidth } = this.frame;
        const shown = clientWidth && (this.due || clientWidth !== this.width);
        if (this.sent && shown) this.#askToDraw();
      }),
    );
    this.resizer.observe(this.frame);
  }

  #watchPointer() {
    const { signal } = this.stopping;
    const hold = () => (this.held = true);
    const release = () => {
      this.held = false;
      // plotly.js also listens for the end of a drag and must run first.
      if (this.due) setTimeout(() => this.#askToDraw());
    };
    this.plot.addEventListener("pointerdown", hold, { capture: true, signal });
    for (const end of ["pointerup", "pointercancel"]) {
      window.addEventListener(end, release, { capture: true, signal });
    }
  }

  #watchPlot() {
    this.plot.on("plotly_afterplot", () => makeLegendOperable(this.plot));
    makeLegendOperable(this.plot);
    watchSelection(this.plot, (points) => this.sent.selectable && this.tell.select(points));
    watchClicks(this.plot, (point) => this.sent.clickable && this.tell.click(point));
  }

  #makeScrollable(scrolls) {
    // Scrollable content must be reachable with the keyboard.
    if (scrolls) this.frame.tabIndex = 0;
    else this.frame.removeAttribute("tabindex");
  }

  #shown() {
    return { ...this.sent, plot: this.plot, theme: this.theme };
  }
}
