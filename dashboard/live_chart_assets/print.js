// A figure in the browser's print dialog, on a page of its size: saved as a PDF, it has no pixels.

/** Print what plotly.js draws of `figure`; `title` is the name that the browser suggests. */
export async function print(plotly, figure, title) {
  const { width, height } = figure.layout;
  const svg = await plotly.toImage(figure, { format: "svg", width, height, imageDataOnly: true });
  const frame = await emptyFrame();
  const page = frame.contentDocument;
  page.title = title;
  const style = page.createElement("style");
  style.textContent = fontFaces().join("\n") + pageOf(width, height);
  page.head.append(style);
  const drawn = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  page.body.append(page.adoptNode(drawn));
  // A font that cannot be had is replaced by another.
  await Promise.allSettled([...page.fonts].map((face) => face.load()));
  const view = frame.contentWindow;
  view.addEventListener("afterprint", () => frame.remove());
  view.print();
}

/** A document that is on the page and not seen: what is not laid out is not printed. */
function emptyFrame() {
  const frame = document.createElement("iframe");
  frame.className = "printed-figure";
  frame.ariaHidden = "true";
  frame.tabIndex = -1;
  frame.srcdoc = "<!doctype html>";
  return new Promise((resolve) => {
    frame.onload = () => resolve(frame);
    document.body.append(frame);
  });
}

function pageOf(width, height) {
  return `@page { size: ${width}px ${height}px; margin: 0 }
    html, body { margin: 0; height: ${height}px; overflow: hidden }
    svg { display: block }`;
}

/** The page's own fonts, in which the figure's texts were measured. */
function fontFaces() {
  return [...document.styleSheets].flatMap((sheet) =>
    rulesOf(sheet)
      .filter((rule) => rule instanceof CSSFontFaceRule)
      .map((rule) => withWholeAddresses(rule.cssText, sheet.href ?? document.baseURI)),
  );
}

function rulesOf(sheet) {
  const isOwn = !sheet.href || new URL(sheet.href).origin === location.origin;
  return isOwn ? [...sheet.cssRules] : [];
}

function withWholeAddresses(css, base) {
  return css.replace(/url\("([^"]*)"\)/g, (_, address) => `url("${new URL(address, base)}")`);
}
