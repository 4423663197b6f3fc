// The latest requests, filtered.
// Owns: the list, its filters (kept in the address) and its live switch. Must not explain a decision.

import * as api from "./api.js";
import { h, replace } from "./dom.js";
import { count, duration, moment, percent, plural, usd } from "./format.js";
import { grid } from "./grid.js";
import { banner, blank, bones, failed } from "./notice.js";
import { chip, clip, ending, ENDING_NAMES, endingText, pageHead, toggle, two } from "./parts.js";
import { poll } from "./poll.js";

const EVERY_MS = 2_000;
const LIMIT = 100;
const FILTERS = ["route", "model", "ending"];

function requestGrid() {
  return grid([
    { name: "When", cell: (row) => h("a", { href: link(row.id), title: `Open request ${row.id}` }, moment(row.at_ms)) },
    { name: "Route", cell: (row) => (row.slice && row.slice !== row.route ? two(clip(row.route), clip(row.slice)) : clip(row.route)) },
    { name: "Sent to", cell: (row) => two(clip(row.model ?? "nothing", "strong"), clip(row.lane ?? row.reason ?? "no lane was left")) },
    { name: "Ending", cell: (row) => row.attempts > 1 ? two(ending(row.ending), `after ${row.attempts} attempts`) : ending(row.ending) },
    { name: "Cost, baseline", number: true, cell: (row) => two(usd(row.cost_usd), usd(row.baseline_usd)) },
    { name: "First token", number: true, cell: (row) => duration(row.first_token_ms) },
    { name: "Total", number: true, cell: (row) => duration(row.total_ms) },
    { name: "In / out", hint: "Tokens", number: true, cell: (row) => `${count(row.input_tokens)} / ${count(row.output_tokens)}` },
    { name: "Quality", number: true, hint: "The verdict, where there is one; else unknown", cell: (row) => percent(row.quality) },
  ], { key: (row) => row.id, href: (row) => link(row.id), caption: "Latest requests" });
}

let lastFilter = {};

/** Where "back to the list" leads: with the filters it last had. */
export function listAddress() {
  const query = new URLSearchParams(Object.entries(lastFilter).filter(([, value]) => value));
  return query.size ? `#/decisions?${query}` : "#/decisions";
}

const link = (id) => `#/decisions/${encodeURIComponent(id)}`;

/** A select that learns its choices from what the rows and the policy show. */
function picker(name, label, text, change) {
  const select = h("select", { "data-filter": name, "aria-label": label, onchange: () => change(select.value) });
  const known = new Set();
  const write = () => {
    const chosen = select.value;
    replace(select, h("option", { value: "" }, `All ${label}`), [...known].sort().map((value) => h("option", { value }, text(value))));
    select.value = chosen;
  };
  write();
  return {
    element: select,
    learn(values) {
      const before = known.size;
      for (const value of values) if (value) known.add(value);
      if (known.size !== before) write();
    },
    set(value) {
      if (value) this.learn([value]);
      select.value = value ?? "";
    },
  };
}

function readFilter(query) {
  return Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]));
}

function writeFilter(filter) {
  lastFilter = filter;
  history.replaceState(null, "", listAddress());
}

export function mount(page, { query }) {
  let filter = readFilter(query);
  lastFilter = filter;
  let shown = false;
  const trouble = banner();
  const list = requestGrid();
  const status = h("span", {}, "");
  const change = (name) => (value) => {
    filter[name] = value;
    writeFilter(filter);
    asking.now();
  };
  const pickers = {
    route: picker("route", "routes", (value) => value, change("route")),
    model: picker("model", "models", (value) => value, change("model")),
    ending: picker("ending", "endings", endingText, change("ending")),
  };
  pickers.ending.learn(ENDING_NAMES);
  const showFilter = () => FILTERS.forEach((name) => pickers[name].set(filter[name]));
  showFilter();
  const clear = h("button", { class: "button small", type: "button", onclick: () => {
    filter = readFilter(new URLSearchParams());
    writeFilter(filter);
    showFilter();
    asking.now();
  } }, "Clear filters");
  const live = toggle("Live", true, (on) => (on ? asking.resume() : asking.pause()));
  const none = h("div", {}, bones(8));
  list.element.hidden = true;
  page.append(
    pageHead("Decisions", "Every request, where it went and why. Open one for its full trail."),
    trouble.element,
    h("section", { class: "card" },
      h("div", { class: "filters" }, Object.values(pickers).map((one) => one.element), clear, status, live),
      none, list.element));

  function take({ requests }) {
    trouble.clear();
    shown = true;
    pickers.route.learn(requests.map((row) => row.route));
    pickers.model.learn(requests.map((row) => row.model));
    const filtered = FILTERS.some((name) => filter[name]);
    clear.hidden = !filtered;
    list.set(requests);
    list.element.hidden = requests.length === 0;
    none.hidden = requests.length > 0;
    if (requests.length === 0) {
      replace(none, filtered
        ? blank("Nothing matches these filters", "Clear them, or wait: the list is live.")
        : blank("No requests yet", "As soon as an app sends one through a proxy it shows up here."));
    }
    replace(status, chip("", requests.length >= LIMIT ? `latest ${LIMIT}` : plural(requests.length, "request")));
  }

  const asking = poll((signal) => api.requests({ limit: LIMIT, ...filter }, signal), EVERY_MS, take, (failure) => {
    trouble.show(failed(shown ? "The list is not fresh" : "The list could not be loaded", failure));
    if (!shown) none.hidden = true;
  });
  return {
    close: asking.close,
    again({ detail, query: next }) {
      if (detail) return false;
      filter = readFilter(next);
      lastFilter = filter;
      showFilter();
      asking.now();
      return true;
    },
  };
}
