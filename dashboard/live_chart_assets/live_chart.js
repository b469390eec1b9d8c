// A plotly chart that is updated in place. Streamlit calls the default export for every new figure
// and every new theme, with the same parent element as long as the chart is on the page.

import { Chart } from "./chart.js";
import { groupHelpMarks } from "./help_marks.js";

const charts = new WeakMap();

// Every page has a chart, and this script is run once: it serves the rest of the page, too.
groupHelpMarks();

export default function liveChart({ data, parentElement, setStateValue, setTriggerValue }) {
  if (!charts.has(parentElement)) charts.set(parentElement, new Chart(parentElement));
  charts.get(parentElement).update(data, {
    select: (points) => setStateValue("selection", points),
    click: (point) => setTriggerValue("clicked", point),
    drawn: (token) => setTriggerValue("drawn", token),
  });
  return () => {
    // Also called for an outdated update: the chart then stays.
    if (parentElement.isConnected) return;
    charts.get(parentElement)?.remove();
    charts.delete(parentElement);
  };
}
