// One request, explained.
// Owns: the sentence, the candidates, the attempts, the facts and verdicts of one request.
// Must not decide anything itself: every word and number is the server's trail.

import * as api from "./api.js";
import { h, icon, replace } from "./dom.js";
import { count, decimal, duration, figure, moment, percent, plural, usd, UNKNOWN } from "./format.js";
import { grid } from "./grid.js";
import { listAddress } from "./decisions.js";
import { banner, blank, bones, failed } from "./notice.js";
import { card, chip, clip, ending, facts, quality, two, verdict } from "./parts.js";
import { poll } from "./poll.js";
import { timeline } from "./timeline.js";

const EVERY_MS = 5_000; // Verdicts may still come in.
const SETTLED_AFTER_MS = 600_000;
const FEATURES_SHOWN = 12;

/** The server explains; this is only for one that left the sentence out. */
function sentence(told) {
  if (told.explanation) return told.explanation;
  const chosen = told.trail?.find((candidate) => candidate.verdict === "chosen");
  return chosen ? `Sent to ${chosen.lane}: ${chosen.reason}.` : `Not sent anywhere: ${told.reason ?? "no lane was left"}.`;
}

function headCard(told) {
  const counted = told.ending === "answered" && typeof told.baseline_usd === "number" && typeof told.cost_usd === "number";
  const saved = counted ? told.baseline_usd - told.cost_usd : null;
  const savedText = saved === null ? "no saving counted"
    : `${saved >= 0 ? "saved" : "cost"} ${usd(Math.abs(saved))}${told.baseline_usd > 0 ? `, ${percent(Math.abs(saved) / told.baseline_usd, 0)}` : ""}`;
  const cell = (name, value, small) => h("div", {}, h("dt", {}, name), h("dd", {}, value, h("small", {}, small)));
  return h("section", { class: "card" },
    h("div", { class: "why" },
      h("blockquote", { "data-explanation": true }, sentence(told)),
      h("div", { class: "chips" },
        ending(told.ending),
        told.explored ? chip("accent", `explored, propensity ${decimal(told.propensity, 3)}`) : null,
        told.abstained ? chip("warn", `abstained: ${told.abstained}`) : null,
        told.attempts > 1 ? chip("warn", plural(told.attempts, "attempt")) : null,
        told.tier ? chip("", `tier ${told.tier}`) : null,
        chip("", `table v${told.table_version}`))),
    h("dl", { class: "strip" },
      cell("Cost", usd(told.cost_usd), `${count(told.input_tokens)} in, ${count(told.output_tokens)} out`),
      cell("Baseline", usd(told.baseline_usd), savedText),
      cell("Quality", percent(told.quality), typeof told.bar === "number" ? `route's bar ${percent(told.bar, 0)}` : "no bar"),
      cell("First token", duration(told.first_token_ms), "since arrival"),
      cell("Total", duration(told.total_ms), "since arrival")));
}

/** What the lane's name already says is not said again. */
function laneCell(row) {
  const rest = [row.model, row.upstream, row.tier].filter((part) => part && !row.lane.includes(part));
  return two([h("span", { class: "strong" }, row.lane), rest.length ? h("span", { class: "faint after" }, rest.join(" · ")) : null], row.reason ?? "");
}

function candidates(told) {
  const list = grid([
    { name: "", number: true, cell: (row) => (row.rank === null || row.rank === undefined ? "" : h("span", { class: "faint", title: "Place in the plan" }, row.rank)) },
    { name: "Lane, and why", class: "reason", cell: (row) => laneCell(row) },
    { name: "Predicted quality", hint: "Solid: lower bound. Light: estimate. Tick: the route's bar", cell: (row) => quality(row.quality, row.quality_low, told.bar) },
    { name: "Expected cost", number: true, cell: (row) => usd(row.cost_usd) },
    { name: "First token", number: true, cell: (row) => duration(row.first_token_ms) },
    { name: "Utility", number: true, hint: "Predicted quality minus λ times expected cost", cell: (row) => decimal(row.utility, 4) },
    { name: "Verdict", cell: (row) => verdict(row.verdict) },
  ], { key: (row) => row.lane, rowClass: (row) => row.verdict, caption: "Candidates", className: "candidates" });
  const order = { chosen: 0, fallback: 1, removed: 2 };
  const trail = [...(told.trail ?? [])].sort((a, b) =>
    (order[a.verdict] ?? 3) - (order[b.verdict] ?? 3) || (a.rank ?? 1e9) - (b.rank ?? 1e9));
  list.set(trail);
  const note = `λ ${figure(told.lambda)} per dollar · ${plural(trail.length, "lane")} considered`;
  return card("Candidates", note, trail.length ? list.element : blank("No trail was recorded", "This request ended before a decision was made, or its trail was not sampled."));
}

function factsCard(told) {
  const known = told.facts ?? {};
  const yes = (value) => (value === true ? "yes" : value === false ? "no" : value ?? UNKNOWN);
  return card("Facts", "All a decision may know; no prompt text", h("div", { class: "body" }, facts([
    ["Route", told.route], ["Slice", told.slice ?? UNKNOWN], ["Class", known.class ?? UNKNOWN], ["Key", known.key ?? UNKNOWN],
    ["Input tokens, estimated", count(known.input_tokens)], ["Turns", known.turns ?? UNKNOWN],
    ["Tools", yes(known.tools)], ["Structured output", yes(known.json)], ["Images", yes(known.images)],
  ])));
}

function featuresCard(told) {
  const features = (told.facts?.features ?? []).slice(0, FEATURES_SHOWN);
  return card("Features", null, h("div", { class: "body" }, features.length
    ? facts(features.map(({ name, value }) => [h("span", { class: "mono" }, name), typeof value === "number" ? figure(value) : String(value)]))
    : h("p", { class: "soft" }, "None were recorded.")));
}

function verdictsCard(told) {
  const list = grid([
    { name: "Source", cell: (row) => clip(row.source, "strong") },
    { name: "Score", cell: (row) => quality(row.score) },
    { name: "When", cell: (row) => moment(row.at_ms) },
  ], { key: (row) => `${row.source} ${row.at_ms} ${row.score}`, caption: "Verdicts" });
  const verdicts = told.verdicts ?? [];
  list.set(verdicts);
  return card("Verdicts", null, verdicts.length ? list.element
    : blank("No verdict yet", "Verdicts come from the app's feedback call, from checks on the answer, or from a sampled judge."));
}

function draw(told) {
  return [
    headCard(told),
    candidates(told),
    card("Attempts", "Since the request arrived", timeline(told)),
    h("div", { class: "triple" }, verdictsCard(told), factsCard(told), featuresCard(told)),
  ];
}

export function mount(page, { detail }) {
  const trouble = banner();
  const when = h("p", { class: "lead" }, h("span", { class: "mono" }, detail));
  const body = h("div", { class: "stack" }, h("section", { class: "card" }, bones(5)), h("section", { class: "card" }, bones(8)));
  const back = h("a", { class: "back", href: listAddress() }, icon("back"), "Decisions");
  page.append(h("div", {}, back, h("div", { class: "page-head" }, h("div", {}, h("h1", {}, "Decision"), when))), trouble.element, body);
  let last = "";

  function take(told) {
    trouble.clear();
    const now = JSON.stringify(told);
    if (now !== last) {
      last = now;
      replace(when, h("span", { class: "mono" }, told.id), " · ", moment(told.at_ms));
      replace(body, draw(told));
    }
    if (Date.now() - told.at_ms > SETTLED_AFTER_MS) asking.pause();
  }

  const asking = poll((signal) => api.request(detail, signal), EVERY_MS, take, (failure) => {
    trouble.show(failed(failure.status === 404 ? "No such request" : "The request could not be loaded", failure));
    if (!last) replace(body);
    if (failure.status === 404) asking.pause();
  });
  return { close: asking.close };
}
