// The first page: what went through, what it cost, what was saved, how good and how fast it was.
// Owns: its tiles, charts and two tables. Must not compute money: sums come from the server.

import * as api from "./api.js";
import { chart } from "./chart.js";
import { h, settle, setText } from "./dom.js";
import { count, decimal, duration, percent, plural, points, usd, UNKNOWN } from "./format.js";
import { grid } from "./grid.js";
import { banner, blank, failed } from "./notice.js";
import { card, clip, pageHead, quality, segmented, share } from "./parts.js";
import { poll } from "./poll.js";

const EVERY_MS = 2_000;
const WINDOWS = [[900, "15 min"], [3_600, "1 h"], [86_400, "24 h"]];
const WINDOW_KEY = "spillway.window";
const EXAMPLE = `from openai import OpenAI

client = OpenAI(base_url="http://PROXY/v1", api_key="YOUR KEY")
client.chat.completions.create(
    model="auto",  # a route of your policy
    messages=[{"role": "user", "content": "Hello"}],
)`;

function tile(name, id, className = "") {
  const value = h("div", { class: "value" }, h("div", { class: "bone" }));
  const notes = [h("div", { class: "note" }), h("div", { class: "note" })];
  return {
    element: h("section", { class: `card tile ${className}`, "data-tile": id }, h("h3", {}, name), value, notes),
    set(text, ...small) {
      setText(value, text);
      notes.forEach((note, index) => settle(note, small[index] ?? ""));
    },
  };
}

function makeTiles() {
  return {
    requests: tile("Requests", "requests"),
    spend: tile("Spend", "spend"),
    saved: tile("Saved against baseline", "saved", "lead-tile"),
    quality: tile("Mean quality", "quality"),
    latency: tile("Latency p50", "latency"),
    errors: tile("Errors", "errors"),
  };
}

function barNote(told) {
  if (typeof told.quality_mean !== "number" || typeof told.bar !== "number") return typeof told.bar === "number" ? `bar ${percent(told.bar)}` : "no bar";
  const gap = told.quality_mean - told.bar;
  return h("span", {}, h("span", { class: gap >= 0 ? "good" : "bad" }, points(gap)), ` to the bar, ${percent(told.bar, 0)}`);
}

function fillTiles(tiles, told) {
  const rate = told.requests / told.window_s;
  const some = told.requests > 0;
  const saved = told.baseline_usd > 0 ? `${percent(told.saved_usd / told.baseline_usd)} of the baseline` : "no baseline yet";
  tiles.requests.set(count(told.requests), rate >= 1 ? `${decimal(rate, 1)} per second` : `${decimal(rate * 60, 1)} per minute`,
    `${plural(told.failovers, "failover")}`);
  tiles.spend.set(usd(told.spend_usd), some ? `${usd(told.spend_usd / told.requests)} per request` : "nothing spent", `baseline ${usd(told.baseline_usd)}`);
  tiles.saved.set(usd(told.saved_usd), saved, some ? `${usd(told.saved_usd / told.requests)} per request` : "");
  tiles.quality.set(percent(told.quality_mean), barNote(told), told.quality_count ? `from ${plural(told.quality_count, "verdict")}` : "no verdicts yet");
  tiles.latency.set(duration(told.latency_p50_ms), `p95 ${duration(told.latency_p95_ms)}`, `first token ${duration(told.first_token_p50_ms)}`);
  tiles.errors.set(count(told.errors), some ? `${percent(told.errors / told.requests, 2)} of requests` : UNKNOWN, `${count(told.abstained)} abstained`);
}

function makeCharts() {
  const ratio = (value) => percent(value, value === 1 ? 0 : 1);
  return {
    money: chart({ title: "Spend against baseline", write: usd, series: [
      { name: "Spend", colour: "accent", area: true },
      { name: "Baseline", colour: "compare", dash: [5, 4] },
    ] }),
    endings: chart({ title: "Requests by ending", write: count, series: [
      { name: "Failed", colour: "bad", bars: true },
      { name: "Answered", colour: "accent", bars: true },
    ] }),
    quality: chart({ title: "Quality against the bar", write: ratio, floor: true, empty: "No verdicts in this window", series: [
      { name: "Quality", colour: "accent" },
      { name: "Bar", colour: "compare", dash: [5, 4], isolated: false },
    ] }),
    latency: chart({ title: "Latency", write: duration, series: [
      { name: "p50", colour: "accent" },
      { name: "p95", colour: "compare" },
    ] }),
  };
}

function fillCharts(charts, told) {
  const { t_s, answered, failed: broken, spend_usd, baseline_usd, quality: good, p50_ms, p95_ms } = told.series;
  charts.money.set(told.series.step_s, t_s, [spend_usd, baseline_usd]);
  // Stacked: the failed ones show above the answered ones.
  charts.endings.set(told.series.step_s, t_s, [broken, answered], [broken.map((n, i) => (n ? n + answered[i] : null)), answered]);
  charts.quality.set(told.series.step_s, t_s, [good, t_s.map(() => told.bar ?? null)]);
  charts.latency.set(told.series.step_s, t_s, [p50_ms, p95_ms]);
}

function modelTable() {
  return grid([
    { name: "Model", cell: (row) => clip(row.model, "strong") },
    { name: "Requests", number: true, cell: (row) => count(row.requests) },
    { name: "Share", cell: (row) => share(row.share) },
    { name: "Spend", number: true, cell: (row) => usd(row.spend_usd) },
    { name: "Quality", number: true, cell: (row) => percent(row.quality) },
    { name: "p50", number: true, cell: (row) => duration(row.p50_ms) },
  ], { key: (row) => row.model, href: (row) => `#/decisions?model=${encodeURIComponent(row.model)}`, caption: "By model" });
}

function routeTable() {
  return grid([
    { name: "Route", cell: (row) => clip(row.route, "strong") },
    { name: "Requests", number: true, cell: (row) => count(row.requests) },
    { name: "Spend", number: true, cell: (row) => usd(row.spend_usd) },
    { name: "Saved", number: true, cell: (row) => h("span", { class: row.saved_usd > 0 ? "good" : "" }, usd(row.saved_usd)) },
    { name: "Quality, bar", cell: (row) => quality(row.quality, null, row.bar) },
  ], { key: (row) => row.route, href: (row) => `#/decisions?route=${encodeURIComponent(row.route)}`, caption: "By route" });
}

function startingWindow(query) {
  const wanted = Number(query.get("window") ?? sessionStorage.getItem(WINDOW_KEY));
  return WINDOWS.some(([seconds]) => seconds === wanted) ? wanted : 900;
}

export function mount(page, { query }) {
  let chosen = startingWindow(query);
  let shown = false;
  const trouble = banner();
  const tiles = makeTiles();
  const charts = makeCharts();
  const models = modelTable();
  const routes = routeTable();
  const none = h("section", { class: "card", hidden: true },
    blank("No requests in this window", "Point an app at a proxy: change its SDK's base URL, and name a route of your policy as the model. This page fills within seconds.", EXAMPLE));
  const drawings = h("div", { class: "charts" }, Object.values(charts).map((one) => one.element));
  const lists = h("div", { class: "pair wide" }, card("By model", null, models.element), card("By route", null, routes.element));
  page.append(
    pageHead("Overview", null, segmented("Window", WINDOWS, chosen, (seconds) => {
      chosen = seconds;
      sessionStorage.setItem(WINDOW_KEY, String(seconds));
      asking.now();
    })),
    trouble.element,
    h("div", { class: "tiles" }, Object.values(tiles).map((one) => one.element)),
    none, drawings, lists);

  function take(told) {
    trouble.clear();
    fillTiles(tiles, told);
    const empty = told.requests === 0;
    none.hidden = !empty;
    drawings.hidden = empty;
    lists.hidden = empty;
    if (!empty) {
      fillCharts(charts, told);
      models.set(told.by_model);
      routes.set(told.by_route);
    }
    shown = true;
  }

  function fail(failure) {
    trouble.show(failed(shown ? "These figures are not fresh" : "The figures could not be loaded", failure));
  }

  const asking = poll((signal) => api.overview(chosen, signal), EVERY_MS, take, fail);
  return {
    close() {
      asking.close();
      Object.values(charts).forEach((one) => one.close());
    },
  };
}
