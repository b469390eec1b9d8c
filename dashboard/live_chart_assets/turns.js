// Charts are drawn one by one, and the page is painted in between, so that the first is visible
// before the last is drawn.

const LONGEST_WAIT_MILLISECONDS = 50;

const waiting = new Set();
let isWorking = false;

/** Queue `draw`; it is called once even if queued twice. */
export function drawInTurn(draw) {
  waiting.add(draw);
  if (!isWorking) work();
}

async function work() {
  isWorking = true;
  // Also visits what is added during the loop.
  for (const draw of waiting) {
    waiting.delete(draw);
    await draw().catch((error) => console.error(error));
    await painted();
  }
  isWorking = false;
}

function painted() {
  return new Promise((resolve) => {
    requestAnimationFrame(() => setTimeout(resolve));
    // A hidden window is not painted, and a busy machine paints late.
    setTimeout(resolve, LONGEST_WAIT_MILLISECONDS);
  });
}
