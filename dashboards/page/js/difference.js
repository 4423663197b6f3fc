// What changed between two texts, by line.
// Owns: the comparison and its drawing. Must not know what the texts are.

import { h } from "./dom.js";

/** Longest common subsequence over the part that differs; beyond this many cells it says "replaced". */
const CELLS_MAX = 4_000_000;
const CONTEXT_LINES = 1;

function trimmed(before, after) {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < before.length - start && end < after.length - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  return { start, old: before.slice(start, before.length - end), fresh: after.slice(start, after.length - end) };
}

function middle(old, fresh) {
  const all = [...old.map((line) => ["gone", line]), ...fresh.map((line) => ["added", line])];
  if (old.length * fresh.length > CELLS_MAX) return all;
  const wide = fresh.length + 1;
  const longest = new Uint32Array((old.length + 1) * wide);
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = fresh.length - 1; j >= 0; j -= 1) {
      longest[i * wide + j] = old[i] === fresh[j]
        ? longest[(i + 1) * wide + j + 1] + 1
        : Math.max(longest[(i + 1) * wide + j], longest[i * wide + j + 1]);
    }
  }
  const steps = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < fresh.length) {
    if (i < old.length && j < fresh.length && old[i] === fresh[j]) {
      steps.push(["same", old[i]]);
      [i, j] = [i + 1, j + 1];
    } else if (i < old.length && (j === fresh.length || longest[(i + 1) * wide + j] >= longest[i * wide + j + 1])) {
      steps.push(["gone", old[i]]);
      i += 1;
    } else {
      steps.push(["added", fresh[j]]);
      j += 1;
    }
  }
  return steps;
}

const SIGNS = { same: "  ", gone: "− ", added: "+ ", skip: "  " };

/** Unchanged stretches shrink to a line of dots, so that what changed is in view. */
function folded(steps) {
  const near = (index) => steps.slice(Math.max(0, index - CONTEXT_LINES), index + CONTEXT_LINES + 1).some(([kind]) => kind !== "same");
  const kept = [];
  steps.forEach((step, index) => {
    if (near(index)) kept.push(step);
    else if (kept.at(-1)?.[0] !== "skip") kept.push(["skip", "⋯"]);
  });
  return kept;
}

export function difference(before, after) {
  const { old, fresh } = trimmed(before.split("\n"), after.split("\n"));
  return h("pre", { class: "diff", tabindex: "0", "aria-label": "Lines that change" },
    folded(middle(old, fresh)).map(([kind, line]) => h("span", { class: kind }, SIGNS[kind] + line)));
}
