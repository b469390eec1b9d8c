// Makes plotly's legend, which supports only the mouse, usable by keyboard and screen reader.

export function makeLegendOperable(plot) {
  for (const entry of plot.querySelectorAll(".legend .legendtoggle")) {
    const name = entry.parentElement.querySelector(".legendtext")?.textContent ?? "";
    entry.setAttribute("role", "button");
    entry.setAttribute("tabindex", "0");
    entry.setAttribute("aria-label", `Show ${name}`);
    entry.setAttribute("aria-pressed", String(!isHidden(entry)));
    entry.onkeydown = (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      for (const part of ["mousedown", "mouseup"]) entry.dispatchEvent(new MouseEvent(part));
    };
  }
}

function isHidden(entry) {
  // As plotly writes it: the computed style would be computed anew for each entry.
  const { opacity } = entry.closest(".traces").style;
  return opacity !== "" && Number(opacity) < 1;
}
