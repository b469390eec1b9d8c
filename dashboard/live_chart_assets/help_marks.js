// One tab stop for all help marks of a group; the arrow keys lead from one to the next.
//
// Every control has a mark: with a tab stop each, the keyboard needs twice as many presses to reach
// a control.

const MARKS = "[data-testid=stTooltipIcon] :is(button, [tabindex])";
const GROUPS =
  "[data-testid=stSidebar], [data-testid=stExpander], [class*=st-key-numbers-row], [data-testid=stMain]";
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

let isDue = false;

export function groupHelpMarks() {
  new MutationObserver(later).observe(document.body, { childList: true, subtree: true });
  document.addEventListener("keydown", move);
  later();
}

function later() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    for (const marks of groups().values()) enter(marks, marks.find(isEntry) ?? marks[0]);
  });
}

/** The marks of each group, in the order of the page. */
function groups() {
  const found = new Map();
  for (const mark of document.querySelectorAll(MARKS)) {
    const group = mark.closest(GROUPS) ?? document.body;
    if (!found.has(group)) found.set(group, []);
    found.get(group).push(mark);
  }
  return found;
}

function isEntry(mark) {
  return mark.dataset.entry !== undefined;
}

/** Make `entry` the group's tab stop. */
function enter(marks, entry) {
  for (const mark of marks) {
    mark.tabIndex = mark === entry ? 0 : -1;
    if (mark === entry) mark.dataset.entry = "";
    else delete mark.dataset.entry;
  }
}

function move(event) {
  const step = STEPS[event.key];
  const mark = step && event.target.closest?.(MARKS);
  if (!mark) return;
  const marks = groups().get(mark.closest(GROUPS) ?? document.body);
  const next = marks[(marks.indexOf(mark) + step + marks.length) % marks.length];
  event.preventDefault();
  enter(marks, next);
  next.focus();
}
