// The little board in the corner: which table is out, who serves it, whether we still hear.
// Owns: that board only. Must not stand in for any page's own figures.

import * as api from "./api.js";
import { h, setText } from "./dom.js";
import { UNKNOWN, moment } from "./format.js";
import { poll } from "./poll.js";

const EVERY_MS = 10_000;

export function standing() {
  const table = h("dd", {}, UNKNOWN);
  const since = h("dd", {}, UNKNOWN);
  const proxies = h("dd", {}, UNKNOWN);
  const link = h("dd", {}, "connecting");
  const row = (name, value) => h("div", {}, h("dt", {}, name), value);
  const element = h("dl", { class: "standing", "aria-label": "State of the system" },
    row("Table", table), row("Published", since), row("Proxies", proxies), row("Control", link));

  function take(told) {
    setText(table, told.table ? `v${told.table.version}` : "none yet");
    since.replaceChildren(moment(told.table?.published_ms));
    const { running = 0, refused = 0, lost = 0 } = told.proxies ?? {};
    const ill = refused + lost;
    setText(proxies, ill ? `${running} up, ${ill} not` : `${running} up`);
    proxies.className = ill || !running ? "warn" : "";
    setText(link, "connected");
    link.className = "good";
  }

  function fail() {
    setText(link, "no answer");
    link.className = "bad";
  }

  const asking = poll((signal) => api.overview(900, signal), EVERY_MS, take, fail);
  return { element, close: asking.close };
}
