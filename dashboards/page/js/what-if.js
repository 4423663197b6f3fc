// What would have happened: recorded traffic replayed under the text in the editor.
// Owns: the question and the drawing of its answer. Must not estimate anything.

import * as api from "./api.js";
import { h, replace } from "./dom.js";
import { count, duration, percent, plural, points, shortId, usd, usdDelta, UNKNOWN } from "./format.js";
import { busy } from "./notice.js";
import { card } from "./parts.js";

const WINDOWS = [[3_600, "last hour"], [86_400, "last day"], [604_800, "last week"]];
const LIMITS = [[500, "500 requests"], [5_000, "5,000 requests"], [50_000, "50,000 requests"]];
const SEGMENTS_SHOWN = 6;
const EXAMPLES_SHOWN = 5;
/** Below this the estimate leans on few recorded answers of the lanes it would now choose. */
const COVERAGE_LOW = 0.5;

const select = (label, choices, chosen) => {
  const element = h("select", { "aria-label": label }, choices.map(([value, text]) => h("option", { value }, text)));
  element.value = String(chosen);
  return element;
};

function delta(name, value, note, kind = "") {
  return h("div", { class: "delta" }, h("span", { class: "soft" }, name), h("span", { class: `value ${kind}` }, value), note ? h("span", { class: "note" }, note) : null);
}

const direction = (change, goodWhenLess) => (!change ? "" : change < 0 === goodWhenLess ? "good" : "bad");

function relativeChange(before, after) {
  if (!(before > 0) || typeof after !== "number") return "";
  const change = after / before - 1;
  return ` (${change > 0 ? "+" : ""}${percent(change, 0)})`;
}

function summary(told) {
  const cost = told.cost_after_usd - told.cost_before_usd;
  // Without enough observations only the heads' prediction is left, and said to be one.
  const estimated = typeof told.quality_after === "number";
  const after = estimated ? told.quality_after : told.quality_after_predicted;
  const quality = typeof after === "number" && typeof told.quality_before === "number" ? after - told.quality_before : null;
  const share = told.requests ? percent(told.changed / told.requests, 0) : UNKNOWN;
  const interval = typeof told.quality_low === "number" ? `90% interval ${percent(told.quality_low)} to ${percent(told.quality_high)}. ` : "";
  return h("div", { class: "deltas", "data-what-if": true },
    delta("Cost", `${usd(told.cost_before_usd)} → ${usd(told.cost_after_usd)}`, `${usdDelta(cost)}${relativeChange(told.cost_before_usd, told.cost_after_usd)}`, direction(cost, true)),
    delta(estimated ? "Quality" : "Predicted quality", `${percent(told.quality_before)} → ${percent(after)}`,
      `${interval}Coverage ${percent(told.coverage, 0)}${typeof told.effective_sample_size === "number" ? `, as good as ${plural(Math.round(told.effective_sample_size), "direct observation")}` : ""}.`, direction(quality, false)),
    delta("Latency", `${duration(told.latency_before_ms)} → ${duration(told.latency_after_ms)}`, null),
    delta("Would go elsewhere", share, `${count(told.changed)} of ${plural(told.requests, "request")} replayed`),
    told.coverage < COVERAGE_LOW ? h("p", { class: "warn" }, "Coverage is low: few recorded requests went where this policy would send them, so trust the cost more than the quality.") : null);
}

function segments(told) {
  const rows = (told.segments ?? []).slice(0, SEGMENTS_SHOWN);
  if (rows.length === 0) return null;
  return h("div", { class: "subtle" }, h("h3", {}, "Worst segments"),
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Segment"), h("th", { scope: "col", class: "number" }, "Requests"), h("th", { scope: "col", class: "number" }, "Cost"), h("th", { scope: "col", class: "number" }, "Quality"))),
      h("tbody", {}, rows.map((row) => h("tr", {},
        h("td", {}, row.segment), h("td", { class: "number" }, count(row.requests)),
        h("td", { class: "number" }, usdDelta(row.cost_delta_usd)),
        h("td", { class: `number ${direction(row.quality_delta, false)}` }, points(row.quality_delta)))))));
}

function examples(told) {
  const rows = (told.examples ?? []).slice(0, EXAMPLES_SHOWN);
  if (rows.length === 0) return null;
  return h("div", { class: "subtle" }, h("h3", {}, "For example"),
    h("ul", { class: "stack" }, rows.map((row) => h("li", {},
      h("span", { class: "two" },
        h("span", {}, `${row.before ?? "nothing"} → ${row.after ?? "nothing"}`),
        h("small", {}, `${usd(row.cost_before_usd)} → ${usd(row.cost_after_usd)}`)),
      h("a", { class: "mono", href: `#/decisions/${encodeURIComponent(row.id)}`, title: row.id }, shortId(row.id))))));
}

function answer(told) {
  if (told.requests === 0) return h("p", { class: "soft" }, "Nothing was recorded in that window. Choose a longer one, or send some traffic first.");
  return [summary(told), segments(told), examples(told),
    told.notes?.length ? h("ul", { class: "subtle faint" }, told.notes.map((note) => h("li", {}, note))) : null];
}

/** `text()` is the draft; `refused(failure, what)` shows flaws and failures where the editor does. */
export function whatIfCard(text, refused) {
  const window = select("Window", WINDOWS, 86_400);
  const limit = select("Limit", LIMITS, 5_000);
  const run = h("button", { class: "button", type: "button", "data-act": "what-if" }, "What-if");
  const result = h("div", { class: "stack", "aria-live": "polite" },
    h("p", { class: "soft" }, "Replays recorded requests under the text in the editor, with the same code that decides live. Nothing is sent, nothing is charged."));
  run.addEventListener("click", () => busy(run, "Replaying…", async () => {
    try {
      replace(result, answer(await api.whatIf(text(), Number(window.value), Number(limit.value))));
    } catch (failure) {
      replace(result, h("p", { class: "soft" }, "No result: see what is wrong beside the editor."));
      refused(failure, "The what-if could not run");
    }
  }));
  return card("What-if", null, h("div", { class: "body stack" },
    h("div", { class: "page-head" }, h("div", { class: "controls" }, window, limit, run)), result));
}
