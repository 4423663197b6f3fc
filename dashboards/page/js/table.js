// One version of the table, as the proxies hold it.
// Owns: drawing its routes, lanes and heads. Must not change anything.

import * as api from "./api.js";
import { h, icon, replace } from "./dom.js";
import { count, figure, moment, percent, plural, usd, UNKNOWN } from "./format.js";
import { grid } from "./grid.js";
import { banner, bones, failed } from "./notice.js";
import { card, chip, clip, facts } from "./parts.js";

function routes(told) {
  const list = grid([
    { name: "Route", cell: (row) => clip(row.name, "strong") },
    { name: "Bar", number: true, cell: (row) => percent(row.bar) },
    { name: "λ per dollar", number: true, hint: "How much quality a dollar must buy", cell: (row) => figure(row.lambda) },
    { name: "Certified", cell: (row) => certified(row.certificate) },
    { name: "Default lane", cell: (row) => clip(row.default_lane ?? UNKNOWN) },
    { name: "Baseline lane", cell: (row) => clip(row.baseline_lane ?? UNKNOWN) },
    { name: "Explores", number: true, cell: (row) => percent(row.explore) },
    { name: "Candidates", number: true, cell: (row) => h("span", { title: candidateNames(row) }, plural(row.candidates?.length ?? 0, "lane")) },
  ], { key: (row) => row.name, caption: "Routes" });
  list.set(told.routes);
  return card("Routes", plural(told.routes.length, "route"), list.element);
}

const certified = (proven) => (proven
  ? h("span", { title: `${percent(proven.confidence, 0)} confidence, by betting on ${count(proven.audits)} audits` }, `at most ${percent(proven.allowed, 0)} below`)
  : "no");

const candidateNames = (row) => (row.candidates ?? []).map((one) => (typeof one === "string" ? one : one.lane)).join("\n");

function lanes(told) {
  const list = grid([
    { name: "Lane", cell: (row) => clip(row.lane, "strong") },
    { name: "Model", cell: (row) => clip(row.model) },
    { name: "Provider", cell: (row) => clip(row.provider) },
    { name: "Tier", cell: (row) => chip("", row.tier ?? UNKNOWN) },
    { name: "Input, per M tokens", number: true, cell: (row) => usd(row.input_usd_per_mtok) },
    { name: "Output, per M tokens", number: true, cell: (row) => usd(row.output_usd_per_mtok) },
    { name: "Context", number: true, cell: (row) => count(row.context) },
  ], { key: (row) => row.lane, caption: "Lanes" });
  list.set(told.lanes);
  return card("Lanes", plural(told.lanes.length, "lane"), list.element);
}

function about(told) {
  return card("About", null, h("div", { class: "body" }, facts([
    ["Published", moment(told.at_ms)],
    ["Parent", told.parent === null || told.parent === undefined ? "none, the first" : h("a", { href: `#/tables/${told.parent}` }, `v${told.parent}`)],
    ["Note", told.note || UNKNOWN],
    ["Digest", h("span", { class: "mono" }, told.digest)],
  ])));
}

function heads(told) {
  const known = told.heads;
  return card("Heads", null, h("div", { class: "body" }, known
    ? facts([
      ["Kind", known.kind],
      ["Models", (known.models ?? []).map((one) => (typeof one === "string" ? one : one.model)).join(", ")],
      ["Trained on", typeof known.trained_on === "number" ? plural(known.trained_on, "outcome") : known.trained_on ?? UNKNOWN],
      ["Encoder", known.encoder ?? UNKNOWN],
    ])
    : h("p", { class: "soft" }, "No learned heads: quality comes from the catalogue's priors. A training run that passes its gate brings them.")));
}

export function mount(page, { detail }) {
  const trouble = banner();
  const body = h("div", { class: "stack" }, h("section", { class: "card" }, bones(4)), h("section", { class: "card" }, bones(8)));
  page.append(h("div", {}, h("a", { class: "back", href: "#/tables" }, icon("back"), "Tables & fleet"), h("h1", {}, `Table v${detail}`)), trouble.element, body);
  const closing = new AbortController();
  api.table(detail, closing.signal).then(
    (told) => replace(body, routes(told), lanes(told), h("div", { class: "pair wide" }, about(told), heads(told))),
    (failure) => {
      if (closing.signal.aborted) return;
      replace(body);
      trouble.show(failed(`Table v${detail} could not be loaded`, failure));
    });
  return { close: () => closing.abort() };
}
