// Alarms: what is no longer as it was when the table was learnt.
// Owns: their list and the words for what was done. Must not fetch.

import { h, replace } from "./dom.js";
import { count, moment } from "./format.js";
import { grid } from "./grid.js";
import { card } from "./parts.js";

const KINDS = {
  loss: (row) => `Route ${row.subject} loses more than its bar allows`,
  worse: (row) => `${row.subject} answers worse than predicted`,
  length: (row) => `${row.subject}: the length of its answers has changed`,
  failures: (row) => `Calls of ${row.subject} fail`,
  empty: (row) => `${row.subject} gives empty answers`,
  unlike: () => "Requests are unlike those that were learnt from",
  shift: () => "The mix of requests has shifted",
};
const ACTIONS = {
  reverted: "Went back to what was learnt before",
  forgot: "Forgot the model's older labels and trained again",
  audited: "Audits more for a day",
};

const rounded = (value) => value.toPrecision(2);

export function alarmCard() {
  const list = grid([
    { name: "When", cell: (row) => moment(row.at_ms) },
    { name: "What", class: "reason", cell: (row) => KINDS[row.kind]?.(row) ?? row.kind },
    { name: "Seen", number: true, cell: (row) => rounded(row.mean) },
    { name: "Allowed", number: true, cell: (row) => rounded(row.allowed) },
    { name: "Rests on", number: true, cell: (row) => count(row.seen) },
    { name: "Since about", cell: (row) => moment(row.since_ms) },
    { name: "Done", class: "reason", cell: (row) => ACTIONS[row.action] ?? row.action },
  ], { key: (row) => `${row.at_ms}/${row.kind}/${row.subject}`, caption: "Alarms" });
  const element = h("div", { hidden: true });
  replace(element, card("Alarms", "What has changed since the table was learnt, and what was done about it.", list.element));
  return {
    element,
    set(alarms) {
      element.hidden = alarms.length === 0;
      list.set(alarms);
    },
  };
}
