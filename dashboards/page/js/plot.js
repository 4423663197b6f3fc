// Small still plots: cost against quality, predicted against observed.
// Owns: scales, ticks and marks in SVG. Must not know training runs.

import { svg } from "./dom.js";

const WIDTH = 520;
const HEIGHT = 300;
const EDGE = { left: 52, right: 18, top: 14, bottom: 40 };

function niceTicks(low, high, wanted) {
  const raw = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw) ?? raw;
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-6; tick += step) ticks.push(tick);
  return ticks;
}

function scale(values, { from, to } = {}) {
  const finite = values.filter(Number.isFinite);
  let low = from ?? Math.min(...finite);
  let high = to ?? Math.max(...finite);
  if (!Number.isFinite(low) || !Number.isFinite(high)) [low, high] = [0, 1];
  if (high - low < 1e-12) [low, high] = [low - Math.abs(low || 1) * 0.1, high + Math.abs(high || 1) * 0.1];
  const room = (high - low) * 0.06;
  return { low: from ?? low - room, high: to ?? high + room };
}

/**
 * lines: [{ class, points: [{x, y}] }], marks: [{ class, x, y, size?, name?, hint? }],
 * x, y: { label, write, from?, to? }.
 */
export function plot({ label, x, y, lines = [], marks = [] }) {
  const all = [...lines.flatMap((line) => line.points), ...marks];
  const across = scale(all.map((point) => point.x), x);
  const upward = scale(all.map((point) => point.y), y);
  const left = (value) => EDGE.left + ((value - across.low) / (across.high - across.low)) * (WIDTH - EDGE.left - EDGE.right);
  const top = (value) => HEIGHT - EDGE.bottom - ((value - upward.low) / (upward.high - upward.low)) * (HEIGHT - EDGE.top - EDGE.bottom);
  const root = svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });

  for (const tick of niceTicks(upward.low, upward.high, 4)) {
    root.append(
      svg("line", { class: "grid", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: top(tick), y2: top(tick) }),
      svg("text", { x: EDGE.left - 8, y: top(tick) + 4, "text-anchor": "end" }, y.write(tick)));
  }
  for (const tick of niceTicks(across.low, across.high, 5)) {
    root.append(svg("text", { x: left(tick), y: HEIGHT - EDGE.bottom + 17, "text-anchor": "middle" }, x.write(tick)));
  }
  root.append(
    svg("line", { class: "axis", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: HEIGHT - EDGE.bottom, y2: HEIGHT - EDGE.bottom }),
    svg("text", { x: WIDTH - EDGE.right, y: HEIGHT - 6, "text-anchor": "end" }, `${x.label} →`),
    svg("text", { x: EDGE.left, y: 8, "text-anchor": "start" }, `↑ ${y.label}`));

  for (const line of lines) {
    const path = line.points.map((point) => `${left(point.x).toFixed(1)},${top(point.y).toFixed(1)}`).join(" ");
    if (path) root.append(svg("polyline", { class: line.class, points: path }));
  }
  marks.forEach((mark) => {
    root.append(svg("circle", { class: `mark ${mark.class ?? ""}`, cx: left(mark.x), cy: top(mark.y), r: mark.size ?? 4 },
      mark.hint ? svg("title", {}, mark.hint) : null));
  });
  nameMarks(root, marks.filter((mark) => mark.name), left, top);
  return root;
}

/** Names go where no earlier name lies: above, below, then left of their mark. */
function nameMarks(root, marks, left, top) {
  const taken = [];
  for (const mark of marks) {
    const [x, y, wide] = [left(mark.x), top(mark.y), mark.name.length * 6.2];
    const inner = x + wide / 2 > WIDTH - 4 ? "end" : x - wide / 2 < EDGE.left ? "start" : "middle";
    const from = { end: x - wide, start: x, middle: x - wide / 2 }[inner];
    const free = [-10, 19, -22, 31].find((shift) => !taken.some((other) =>
      Math.abs(other.y - (y + shift)) < 12 && from < other.to && from + wide > other.from));
    const shift = free ?? -10;
    taken.push({ from, to: from + wide, y: y + shift });
    root.append(svg("text", { class: "name", x, y: y + shift, "text-anchor": inner }, mark.name));
  }
}
