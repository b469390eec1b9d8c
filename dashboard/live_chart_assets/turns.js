// Charts are drawn one by one, and the page is painted in between: the first is seen while others
// are still to be drawn.

const LONGEST_WAIT_MILLISECONDS = 50;

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
  return new Promise((resolve) => {
    requestAnimationFrame(() => setTimeout(resolve));
    // A window that is not seen is not painted, and a busy machine paints late.
    setTimeout(resolve, LONGEST_WAIT_MILLISECONDS);
  });
}
