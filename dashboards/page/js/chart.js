// Time series over uPlot.
// Owns: axes, colours by scheme, the legend that reads the cursor, sizes, and renewing data
// without a jump. Must not know what a series means.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { h, setText } from "./dom.js";
import { UNKNOWN } from "./format.js";

const HEIGHT = 182;
const dark = matchMedia("(prefers-color-scheme: dark)");
const together = uPlot.sync("window");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const exact = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function axes(write) {
  const font = `11px ${colour("sans") || "sans-serif"}`;
  const grid = { stroke: colour("line"), width: 1 };
  const shared = { stroke: colour("ink-faint"), font, ticks: { show: false } };
  return [
    { ...shared, grid: { show: false }, space: 64, size: 26, values: (_, marks) => marks.map((mark) => clock.format(mark * 1000)) },
    { ...shared, grid, space: 34, size: 62, values: (_, marks) => marks.map((mark) => (mark === null ? "" : short(write(mark)))) },
  ];
}

/** "$0.050" on an axis reads better as "$0.05". */
const short = (text) => text.replace(/(\.\d\d\d*?)0+$/, "$1");

function drawn(series) {
  const stroke = colour(series.colour);
  const base = { label: series.name, stroke, width: series.width ?? 1.8, spanGaps: false, points: { show: false } };
  if (series.bars) {
    return { ...base, width: 0, fill: stroke, paths: uPlot.paths.bars({ size: [0.72, 14], radius: 0.15, align: 0 }) };
  }
  const paths = uPlot.paths.spline?.();
  if (series.isolated !== false) base.points = { show: false, filter: lonely, size: 4, width: 0, fill: stroke };
  if (series.dash) base.dash = series.dash;
  if (series.area) base.fill = `${stroke}1f`;
  return { ...base, paths };
}

const stepName = (step) => (step < 60 ? `${step} s` : step < 3_600 ? `${step / 60} min` : `${step / 3_600} h`);

/** A point without neighbours draws no line: show it as a dot. */
function lonely(plot, index) {
  const values = plot.data[index];
  const alone = [];
  for (let at = 0; at < values.length; at += 1) {
    if (values[at] === null || values[at] === undefined) continue;
    const before = at > 0 ? values[at - 1] : null;
    const after = at < values.length - 1 ? values[at + 1] : null;
    if ((before ?? null) === null && (after ?? null) === null) alone.push(at);
  }
  return alone;
}

/** The range of values: from zero unless the chart has a floor, never of zero height. */
function range(floor) {
  return (_, low, high) => {
    if (low === null || high === null) return [0, 1];
    if (!floor) return [0, high > 0 ? high * 1.12 : 1];
    const room = Math.max((high - low) * 0.25, 0.01);
    return [Math.max(0, low - room), Math.min(1, high + room)];
  };
}

/** The names of the series with the values under the cursor, else the newest known ones. */
function legend(series, write) {
  const readings = series.map(() => h("b", {}, UNKNOWN));
  const when = h("p", {}, "");
  const element = h("div", { class: "keys" }, series.map((one, index) =>
    h("span", {}, h("i", { "aria-hidden": "true", vars: { key: `var(--${one.colour})` } }), one.name, readings[index])));
  function read(index, times, columns, every) {
    const pointed = typeof index === "number" && index < times.length;
    const at = pointed ? index : times.length - 1;
    columns.forEach((column, place) => {
      let value = column[at];
      for (let back = at; !pointed && typeof value !== "number" && back >= 0; back -= 1) value = column[back];
      setText(readings[place], typeof value === "number" ? write(value) : UNKNOWN);
    });
    setText(when, pointed ? `${exact.format(times[at] * 1000)}, ${every}` : `latest, ${every}`);
  }
  return { element, when, read };
}

/**
 * series: [{ name, colour, dash?, area?, bars? }]; `write` formats a value.
 * Returns { element, set(step, times, columns), close }. `columns` are in the order of the series.
 */
export function chart({ title, series, write, floor = false, empty = "No data in this window" }) {
  const canvas = h("div", { class: "canvas" });
  const veil = h("div", { class: "veil" }, h("div", { class: "bone" }));
  const keys = legend(series, write);
  const element = h("section", { class: "card chart", "aria-label": title },
    h("header", {}, h("h2", {}, title), keys.when), h("header", {}, keys.element), canvas);
  canvas.append(veil);

  let plot = null;
  let data = [[], ...series.map(() => [])];
  let every = "";
  let half = 0; // Half a step of room on both sides, so that the outer bars are whole.
  let raw = series.map(() => []);

  const read = (index) => keys.read(index, data[0], raw, every);

  function build() {
    plot?.destroy();
    plot = new uPlot({
      width: Math.max(120, canvas.clientWidth - 16),
      height: HEIGHT,
      padding: [10, 8, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: together.key }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: true, range: (_, low, high) => [low - half, high + half] }, y: { range: range(floor) } },
      axes: axes(write),
      series: [{}, ...series.map(drawn)],
      hooks: { setCursor: [(self) => read(self.cursor.idx)] },
    }, data, canvas);
  }

  const resized = new ResizeObserver(() => plot?.setSize({ width: Math.max(120, canvas.clientWidth - 16), height: HEIGHT }));
  resized.observe(canvas);
  const recolour = () => plot && build();
  dark.addEventListener("change", recolour);

  return {
    element,
    set(step, times, columns, stacked = columns) {
      every = `per ${stepName(step)}`;
      half = step / 2;
      raw = columns;
      data = [times, ...stacked];
      veil.hidden = columns.some((column) => column.some((value) => typeof value === "number" && value !== 0));
      setText(veil, empty);
      if (plot) plot.setData(data);
      else build();
      read(plot.cursor.idx);
    },
    close() {
      resized.disconnect();
      dark.removeEventListener("change", recolour);
      plot?.destroy();
      plot = null;
    },
  };
}
