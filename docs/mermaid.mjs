// Draws the site's Mermaid diagrams; GitHub draws them by itself. Offline their text is shown.
const source = "https://cdn.jsdelivr.net/npm/mermaid@11/dist/mermaid.esm.min.mjs";
const diagrams = document.querySelectorAll(".mermaid");

if (diagrams.length) {
  const { default: mermaid } = await import(source);
  // Mermaid reads what an element has inside as it is: MkDocs puts it into <code>.
  diagrams.forEach((diagram) => (diagram.textContent = diagram.textContent));
  const isDark = document.documentElement.dataset.bsTheme === "dark";
  mermaid.initialize({ startOnLoad: false, theme: isDark ? "dark" : "default" });
  await mermaid.run();
}
