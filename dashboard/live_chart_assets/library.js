// plotly.js from the plotly package installed on the server; loaded once per page.

const ADDRESS = new URL("../asi_lab.plotly_js/plotly.min.js", import.meta.url);

let loading = null;

/** A promise of the library; if it cannot be loaded, it is rejected and the next call retries. */
export function plotly() {
  loading ??= load().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

function load() {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = ADDRESS.href;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      script.remove();
      reject(new Error(`${ADDRESS.pathname} could not be loaded`));
    };
    document.head.append(script);
  });
}
