// The operators' document: read, change, check, try, publish.
// Owns: loading it, and the cards around the editor. Must not judge a policy.

import * as api from "./api.js";
import { Draft, keepDraft, keptDraft } from "./draft.js";
import { h, replace } from "./dom.js";
import { moment } from "./format.js";
import { banner, bones, failed } from "./notice.js";
import { card, clip, pageHead } from "./parts.js";
import { whatIfCard } from "./what-if.js";
import { Workbench } from "./workbench.js";

function historyCard(told) {
  const rows = (told.history ?? []).slice(0, 12);
  return card("History", null, h("div", { class: "body" }, h("ul", { class: "subtle" }, rows.length
    ? rows.map((row) => h("li", {}, h("span", {}, h("span", { class: "strong" }, `v${row.version}`), " ", clip(row.author ?? "", "soft")), moment(row.at_ms)))
    : h("li", { class: "faint" }, "This is the first version."))));
}

export function mount(page) {
  const trouble = banner();
  const place = h("div", { class: "stack" }, h("section", { class: "card" }, bones(16)));
  page.append(pageHead("Policy", "Routes, bars, limits and budgets. Checked here, tried on recorded traffic, then published to every proxy."), trouble.element, place);
  const closing = new AbortController();

  async function load() {
    try {
      const told = await api.policy(closing.signal);
      trouble.clear();
      show(told);
    } catch (failure) {
      if (closing.signal.aborted) return;
      replace(place);
      trouble.show(failed("The policy could not be loaded", failure, h("button", { class: "button small", type: "button", onclick: load }, "Try again")));
    }
  }

  function reload() {
    keepDraft(null);
    load();
  }

  function show(told) {
    const draft = new Draft(told, keptDraft());
    const past = h("div", {}, historyCard(told));
    const bench = new Workbench(draft, trouble, reload, async () => replace(past, historyCard(await api.policy(closing.signal))));
    const whatIf = whatIfCard(() => draft.text, (failure, what) => bench.refused(failure, what));
    replace(place, h("div", { class: "policy" }, bench.element, h("div", { class: "stack" }, whatIf, past)));
    bench.ready();
  }

  load();
  return { close: () => closing.abort() };
}
