// The attempts of one request on one line of time.
// Owns: that drawing. Must not know candidates or money beyond what an attempt says.

import { h } from "./dom.js";
import { duration, usd } from "./format.js";
import { blank } from "./notice.js";
import { chip, two } from "./parts.js";

const GOOD = new Set(["answered", "ok", "success", "done"]);
const SOFT = new Set(["cut", "client_gone", "cancelled", "abandoned"]);

function kindOf(attempt) {
  if (GOOD.has(attempt.result)) return "";
  return SOFT.has(attempt.result) ? "warn" : "bad";
}

function row(attempt, whole, firstToken) {
  const end = attempt.end_ms ?? whole;
  const track = h("div", { class: "track", title: `${duration(attempt.start_ms)} to ${duration(end)} after arrival` },
    h("i", { class: kindOf(attempt), vars: { from: attempt.start_ms / whole, span: Math.max(0, end - attempt.start_ms) / whole } }));
  const relayed = typeof firstToken === "number" && firstToken >= attempt.start_ms && firstToken <= end && kindOf(attempt) !== "bad";
  if (relayed) track.append(h("u", { title: `First token after ${duration(firstToken)}`, vars: { at: firstToken / whole } }));
  const result = String(attempt.result ?? "").replaceAll("_", " ");
  const charge = attempt.possible_charge && typeof attempt.cost_usd !== "number" ? "may have been charged"
    : `${usd(attempt.cost_usd)}${attempt.possible_charge ? ", possibly charged twice" : ""}`;
  return h("div", { class: "row" },
    two(h("span", { class: "strong" }, attempt.lane), `${duration(end - attempt.start_ms)}${relayed ? `, first token at ${duration(firstToken)}` : ""}`),
    track,
    two(chip(kindOf(attempt) || "good", [result, attempt.status].filter(Boolean).join(" "), true), charge));
}

export function timeline(told) {
  const attempts = told.attempt_list ?? [];
  if (attempts.length === 0) {
    return blank("No lane was called", "The request was refused before anything was sent, so nothing was charged.");
  }
  const ends = attempts.map((attempt) => attempt.end_ms ?? 0);
  const whole = Math.max(told.total_ms ?? 0, ...ends, 1);
  return h("div", { class: "body" }, h("div", { class: "timeline" },
    attempts.map((attempt) => row(attempt, whole, told.first_token_ms)),
    h("div", { class: "row" }, h("span"), h("div", { class: "scale" }, h("span", {}, "arrival"), h("span", {}, duration(whole))), h("span"))));
}
