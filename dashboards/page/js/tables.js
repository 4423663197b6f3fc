// The fleet and the versions of the table.
// Owns: who runs which version, and rolling back. Must not know what is inside a table.

import * as api from "./api.js";
import { h, replace } from "./dom.js";
import { count, duration, moment, plural, UNKNOWN } from "./format.js";
import { grid } from "./grid.js";
import { banner, blank, bones, busy, confirm, failed, notice } from "./notice.js";
import { card, chip, clip, pageHead, state, two } from "./parts.js";
import { poll } from "./poll.js";

const EVERY_MS = 2_000;

function fleetGrid(current) {
  return grid([
    { name: "Proxy", cell: (row) => two(clip(row.id, "strong"), clip(row.address ?? UNKNOWN, "mono")) },
    { name: "State", cell: (row) => state(row.state) },
    { name: "Table", cell: (row) => versionCell(row, current()) },
    { name: "Running for", number: true, cell: (row) => duration(typeof row.uptime_s === "number" ? row.uptime_s * 1000 : null) },
    { name: "In this state since", number: true, cell: (row) => moment(row.since_ms) },
    { name: "Last seen", number: true, cell: (row) => moment(row.last_seen_ms) },
  ], { key: (row) => row.id, caption: "Fleet" });
}

function versionCell(row, current) {
  const version = h("span", {}, `v${row.version ?? UNKNOWN}`, current !== null && row.version !== null && row.version < current ? h("span", { class: "warn" }, " behind") : null);
  if (row.state !== "refused") return version;
  return two(version, h("span", { class: "bad" }, `refused v${row.refused_version}: ${row.refusal ?? "no reason given"}`));
}

function versionGrid(current, rollBack) {
  return grid([
    { name: "Version", cell: (row) => h("span", {}, h("a", { href: `#/tables/${row.version}` }, `v${row.version}`), row.version === current() ? [" ", chip("accent", "current")] : null) },
    { name: "Parent", cell: (row) => h("span", { class: "faint" }, row.parent === null || row.parent === undefined ? UNKNOWN : `v${row.parent}`) },
    { name: "Published", cell: (row) => moment(row.at_ms) },
    { name: "Note", cell: (row) => clip(row.note ?? "") },
    { name: "Routes", number: true, cell: (row) => count(row.routes) },
    { name: "Lanes", number: true, cell: (row) => count(row.lanes) },
    { name: "Heads", cell: (row) => (row.learned ? chip("good", "learned") : chip("", "priors")) },
    { name: "Digest", cell: (row) => h("span", { class: "mono faint", title: row.digest }, String(row.digest ?? "").replace(/^sha256:/, "").slice(0, 10)) },
    { name: "", number: true, cell: (row) => (row.version === current() ? "" : h("button", { class: "button small", type: "button", "data-roll-back": row.version }, "Roll back")) },
  ], { key: (row) => row.version, href: (row) => `#/tables/${row.version}`, caption: "Versions" });
}

export function mount(page) {
  let current = null;
  const troubles = { fleet: banner(), tables: banner() };
  const said = banner();
  const fleet = fleetGrid(() => current);
  const versions = versionGrid(() => current);
  const fleetPlace = h("div", {}, bones(3));
  const versionPlace = h("div", {}, bones(6));
  const fleetNote = h("p", {}, "");
  page.append(pageHead("Tables & fleet", "A table is the policy, compiled with prices and heads. Proxies check each one before they take it."),
    said.element, troubles.fleet.element, troubles.tables.element,
    card("Fleet", fleetNote, fleetPlace), card("Versions", "Versions only grow: rolling back publishes the old content anew", versionPlace));

  // One listener for all rows: their buttons are redrawn as rows change.
  versions.element.addEventListener("click", (event) => {
    const button = event.target.closest("[data-roll-back]");
    if (button) rollBack(Number(button.dataset.rollBack), button);
  });

  async function rollBack(version, button) {
    const expected = current;
    const sure = await confirm({
      title: `Roll back to v${version}?`,
      text: `Every proxy takes the content of v${version} within seconds, published as a new version after v${expected}. Requests under way finish on the table they started with. The policy goes back with it, as a new version of its text.`,
      yes: "Roll back",
      danger: true,
    });
    if (!sure) return;
    await busy(button, "Rolling back…", async () => {
      try {
        const told = await api.rollBack(version, expected);
        said.show(notice("good", `Rolled back: v${told.version} has the content of v${version}`, "The fleet below shows each proxy as it takes it."));
      } catch (failure) {
        const reload = h("button", { class: "button small", type: "button", onclick: () => { said.clear(); asking.tables.now(); } }, "Reload");
        said.show(failed(failure.status === 409 ? "Another version was published meanwhile" : "Nothing was rolled back", failure, reload));
      }
    });
    asking.tables.now();
    asking.fleet.now();
  }

  const takers = {
    fleet({ proxies }) {
      if (proxies.length === 0) replace(fleetPlace, blank("No proxy has reported yet", "Start one that points at this control plane; it appears here as soon as it holds a table.", "spillway proxy --config spillway.toml"));
      else if (fleetPlace.firstChild !== fleet.element) replace(fleetPlace, fleet.element);
      fleet.set(proxies);
      const up = proxies.filter((proxy) => proxy.state === "running").length;
      replace(fleetNote, proxies.length ? `${up} of ${plural(proxies.length, "proxy", "proxies")} running` : "");
    },
    tables(told) {
      current = told.current ?? null;
      if (told.tables.length === 0) replace(versionPlace, blank("No table yet", "Publish a policy: the first table is built from it."));
      else if (versionPlace.firstChild !== versions.element) replace(versionPlace, versions.element);
      versions.set([...told.tables].sort((a, b) => b.version - a.version));
    },
  };
  const ask = (name, what) => poll((signal) => api[name](signal), EVERY_MS,
    (told) => { troubles[name].clear(); takers[name](told); },
    (failure) => troubles[name].show(failed(what, failure)));
  const asking = { fleet: ask("fleet", "The fleet could not be read"), tables: ask("tables", "The tables could not be read") };
  return { close: () => Object.values(asking).forEach((one) => one.close()) };
}
