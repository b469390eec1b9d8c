// Charts are drawn one by one, and the page is painted in between: the first is seen while others
// are still to be drawn.

const waiting = new Set();
let isWorking = false;

/** Call `draw` when all that were asked for before have been drawn; once, if asked twice. */
export function drawInTurn(draw) {
  waiting.add(draw);
  if (!isWorking) work();
}

async function work() {
  isWorking = true;
  // What is added meanwhile comes at the end.
  for (const draw of waiting) {
    waiting.delete(draw);
    await draw().catch((error) => console.error(error));
    await painted();
  }
  isWorking = false;
}

function painted() {
  // Nothing is painted in a window that is not seen.
  if (document.hidden) return undefined;
  return new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
}
