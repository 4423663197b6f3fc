// The report of one training run.
// Owns: its comparison, curve, calibration and gate. Must not fetch, nor second-guess the gate.

import { h, icon } from "./dom.js";
import { count, decimal, percent, plural, usd, UNKNOWN } from "./format.js";
import { blank } from "./notice.js";
import { card, result } from "./parts.js";
import { plot } from "./plot.js";

function gate(run) {
  const checks = run.report?.gate ?? [];
  const list = h("ul", { class: "gate" }, checks.map((one) => h("li", {},
    h("span", { class: one.held ? "good" : "bad" }, icon(one.held ? "check" : "close")),
    h("strong", {}, one.check, h("span", { class: "skip-text" }, one.held ? " (held)" : " (not held)")),
    one.detail ? h("p", {}, one.detail) : null)));
  return card("The gate", result(run.result), h("div", { class: "body" }, h("p", { class: "soft" }, run.reason), list));
}

const times = (value, factor) => (typeof value === "number" ? value * factor : null);

/** The cost is told as a share of always-best's. */
function costOf(share, best) {
  if (typeof share !== "number") return UNKNOWN;
  return h("span", { class: "two" }, h("span", {}, usd(times(best.cost_usd, share))), h("small", {}, `${percent(share, 0)} of the best's`));
}

function comparison(told) {
  const row = (name, note, quality, cost, className = "") => h("tr", {},
    h("td", {}, h("span", { class: "two" }, h("span", { class: className }, name), h("small", {}, note ?? ""))),
    h("td", { class: "number" }, quality), h("td", { class: "number" }, cost));
  const { best = {}, cheapest = {}, learned = {}, zero = {} } = told;
  const head = (...names) => h("thead", {}, h("tr", {}, names.map((name, index) => h("th", { scope: "col", class: index ? "number" : null }, name))));
  return card("Against the simple answers", "On held-out outcomes",
    h("div", { class: "scroll" }, h("table", {}, head("Router", "Quality", "Cost"), h("tbody", {},
      row("Always the best", best.model, percent(best.quality), usd(best.cost_usd)),
      row("Always the cheapest", cheapest.model, percent(cheapest.quality), usd(cheapest.cost_usd)),
      [[0.95, learned.cost_at_95], [0.98, learned.cost_at_98], [1, learned.cost_at_100]].map(([kept, cost]) =>
        row("Learned", `keeping ${percent(kept, 0)} of the best's quality`, percent(times(best.quality, kept)), costOf(cost, best), "strong")))),
    h("table", {}, head("Mean quality over the budget", "Linear", "Logarithmic"), h("tbody", {},
      row("Learned router", "", decimal(learned.aiq), decimal(learned.aiq_log), "strong"),
      row("Zero router", "the best mix that does not look at the prompt", decimal(zero.aiq), decimal(zero.aiq_log))))));
}

/** Costs are shares of the best single model's. */
function contests(told) {
  const rows = told.contests ?? [];
  if (rows.length === 0) return null;
  const best = told.best ?? {};
  const names = ["Router", "Mean quality", "Above the zero router", "Cost for 95%", "Cost for 99%", "Calibration error"];
  const gain = (row) => `${decimal(100 * row.gain_low, 2)} to ${decimal(100 * row.gain_high, 2)} points`;
  return card("Against other routers", "On the same held-out outcomes; quality is the mean over all budgets, each halving alike", h("div", { class: "scroll" },
    h("table", { "aria-label": "Routers" }, h("thead", {}, h("tr", {}, names.map((name, index) => h("th", { scope: "col", class: index ? "number" : null }, name)))),
      h("tbody", {}, rows.map((row) => h("tr", {},
        h("td", {}, h("span", { class: row.router === "committee" ? "strong" : "" }, row.router)),
        [decimal(row.aiq_log), gain(row), costOf(row.cost_at_95, best), costOf(row.cost_at_99, best), percent(row.ece)].map((cell) => h("td", { class: "number" }, cell))))))));
}

const asPoints = (curve) => (curve ?? []).map((one) => ({ x: one.cost_usd, y: one.quality }));

function curve(told) {
  const keys = [["accent", "Learned"], ["compare", "Zero router"], ["ink-soft", "Single models"]];
  const singles = (told.singles ?? []).map((one) => ({ class: "single", x: one.cost_usd, y: one.quality, name: one.model,
    hint: `${one.model}: ${percent(one.quality)} for ${usd(one.cost_usd)}` }));
  const drawing = plot({
    label: "Quality against cost of the learned router, the zero router and single models",
    x: { label: "cost", write: usd, from: 0 },
    y: { label: "quality", write: (value) => percent(value, 0) },
    lines: [{ class: "line compare", points: asPoints(told.zero_curve) }, { class: "line", points: asPoints(told.curve) }],
    marks: singles,
  });
  return card("Quality against cost", null, h("div", { class: "body stack" },
    h("div", { class: "keys" }, keys.map(([name, text]) => h("span", {}, h("i", { vars: { key: `var(--${name})` } }), text))), drawing));
}

function calibration(told) {
  const bins = told.calibration ?? [];
  const most = Math.max(1, ...bins.map((bin) => bin.count));
  const drawing = plot({
    label: "Observed quality against predicted quality",
    x: { label: "predicted", write: (value) => percent(value, 0), from: 0, to: 1 },
    y: { label: "observed", write: (value) => percent(value, 0), from: 0, to: 1 },
    lines: [{ class: "ideal", points: [{ x: 0, y: 0 }, { x: 1, y: 1 }] }, { class: "line", points: bins.map((bin) => ({ x: bin.predicted, y: bin.observed })) }],
    marks: bins.map((bin) => ({ x: bin.predicted, y: bin.observed, size: 3 + 5 * Math.sqrt(bin.count / most),
      hint: `predicted ${percent(bin.predicted)}, observed ${percent(bin.observed)}, ${plural(bin.count, "outcome")}` })),
  });
  return card("Calibration", `expected error ${percent(told.ece)}`, h("div", { class: "body stack" },
    h("div", { class: "keys" }, h("span", {}, h("i", { vars: { key: "var(--compare)" } }), "Perfect"), h("span", {}, h("i", { vars: { key: "var(--accent)" } }), "Observed, larger dot: more outcomes")),
    drawing,
    h("details", {}, h("summary", {}, "The same as a table"), h("table", { "aria-label": "Calibration" }, h("thead", {}, h("tr", {}, ["Predicted", "Observed", "Outcomes"].map((name) => h("th", { scope: "col", class: "number" }, name)))),
      h("tbody", {}, bins.map((bin) => h("tr", {}, [percent(bin.predicted), percent(bin.observed), count(bin.count)].map((text) => h("td", { class: "number" }, text)))))))));
}

export function report(run) {
  const told = run.report;
  if (!told) return [h("section", { class: "card" }, blank("This run has no report", run.reason ?? "It ended before anything was measured."))];
  return [
    h("div", { class: "pair wide" }, gate(run), comparison(told)),
    contests(told),
    h("div", { class: "pair wide" }, curve(told), calibration(told)),
  ];
}
