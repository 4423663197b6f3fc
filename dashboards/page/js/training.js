// Training runs: what was tried, and whether the gate let it through.
// Owns: the list, the running one and the button. Must not draw a report or alarms.

import { alarmCard } from "./alarms.js";
import * as api from "./api.js";
import { h, replace, settle } from "./dom.js";
import { count, moment, percent } from "./format.js";
import { grid } from "./grid.js";
import { banner, blank, bones, busy, failed, notice } from "./notice.js";
import { card, clip, pageHead, progress, result } from "./parts.js";
import { poll } from "./poll.js";
import { report } from "./run-report.js";

const EVERY_MS = 2_000;

function runGrid(chosen) {
  return grid([
    { name: "Run", cell: (row) => h("a", { href: `#/training/${encodeURIComponent(row.id)}` }, clip(row.id, "mono")) },
    { name: "When", cell: (row) => moment(row.at_ms) },
    { name: "Result", cell: (row) => result(row.result) },
    { name: "Outcomes", number: true, cell: (row) => count(row.outcomes) },
    { name: "Why", class: "reason", cell: (row) => row.reason ?? "" },
  ], { key: (row) => row.id, href: (row) => `#/training/${encodeURIComponent(row.id)}`, current: (row) => row.id === chosen(), caption: "Training runs" });
}

function running(told) {
  return h("div", { class: "running", role: "status" },
    h("div", {}, h("strong", {}, `Training: ${told.step}`), h("span", { class: "soft" }, percent(told.done, 0))),
    progress(told.done, "Training"));
}

export function mount(page, { detail }) {
  let asked = detail;
  let runs = [];
  let drawn = "";
  let underWay = false;
  const chosen = () => (runs.find((run) => String(run.id) === asked) ?? runs[0])?.id;
  const trouble = banner();
  const said = banner();
  const list = runGrid(chosen);
  const alarms = alarmCard();
  const now = h("section", { class: "card", hidden: true });
  const place = h("div", {}, bones(5));
  const paper = h("div", { class: "stack" });
  const train = h("button", { class: "button primary", type: "button", "data-act": "train" }, "Train now");
  page.append(pageHead("Training", "Heads are learned from your own outcomes, and used only where they beat a router that does not look at the prompt.", train),
    trouble.element, said.element, now, alarms.element, card("Runs", null, place), paper);

  function drawReport() {
    const run = runs.find((one) => one.id === chosen());
    const key = JSON.stringify(run ?? null);
    if (key === drawn) return;
    drawn = key;
    replace(paper, run ? report(run) : null);
  }

  function take(told) {
    trouble.clear();
    if (underWay && !told.running) said.clear();
    underWay = Boolean(told.running);
    now.hidden = !told.running;
    if (told.running) settle(now, running(told.running));
    if (train.getAttribute("aria-busy") !== "true") {
      train.disabled = underWay;
      train.title = underWay ? "A run is under way" : "";
    }
    alarms.set(told.alarms);
    runs = told.runs;
    if (runs.length === 0) replace(place, blank("No run yet", "Runs start by themselves once enough outcomes have verdicts. You can also start one now."));
    else if (place.firstChild !== list.element) replace(place, list.element);
    list.set(runs);
    drawReport();
  }

  train.addEventListener("click", async () => {
    await busy(train, "Starting…", async () => {
      try {
        const told = await api.train();
        said.show(notice("good", "A training run was started", `Its id is ${told.id}. Its report appears here when it ends; the table changes only if the gate agrees.`));
      } catch (failure) {
        said.show(failed(failure.status === 409 ? "A run is already under way" : "No run was started", failure));
      }
    });
    asking.now();
  });
  const asking = poll((signal) => api.training(signal), EVERY_MS, take,
    (failure) => trouble.show(failed("The runs could not be read", failure)));

  return {
    close: asking.close,
    again({ detail: next }) {
      asked = next;
      list.set(runs);
      drawReport();
      return true;
    },
  };
}
