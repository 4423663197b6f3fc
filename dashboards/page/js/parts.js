// The small pictures several pages share: chips, gauges, cards, tiles.
// Owns: how an ending, a tier, a quality or a proxy's state looks. Must not fetch or decide.

import { h, setVars } from "./dom.js";
import { percent, UNKNOWN } from "./format.js";

const ENDINGS = {
  answered: ["good", "answered"],
  failed: ["bad", "failed"],
  cut: ["warn", "cut off"],
  client_gone: ["", "client gone"],
  refused: ["warn", "refused"],
};
const STATES = { running: "good", refused: "bad", lost: "warn" };
const VERDICTS = { chosen: "accent", fallback: "", removed: "" };
const RESULTS = { promoted: "good", declined: "warn", failed: "bad" };

export const ENDING_NAMES = Object.keys(ENDINGS);

export function chip(kind, text, dot = false) {
  return h("span", { class: `chip ${kind}${dot ? " dot" : ""}` }, text);
}

export function ending(name) {
  const [kind, text] = ENDINGS[name] ?? ["", name ?? UNKNOWN];
  return chip(kind, text, true);
}

export const endingText = (name) => ENDINGS[name]?.[1] ?? name;
export const state = (name) => chip(STATES[name] ?? "", name, true);
export const verdict = (name) => chip(VERDICTS[name] ?? "", name, name === "chosen");
export const result = (name) => chip(RESULTS[name] ?? "", name, true);

/** The lower bound solid, the estimate lighter, the bar as a tick. */
export function quality(value, low, bar) {
  if (typeof value !== "number") return document.createTextNode(UNKNOWN);
  const gauge = h("span", { class: "gauge", "aria-hidden": "true" }, h("i"));
  setVars(gauge, { value: clamp(value) });
  if (typeof low === "number") {
    gauge.append(h("b"));
    setVars(gauge, { low: clamp(low) });
  }
  if (typeof bar === "number") {
    gauge.append(h("u"));
    setVars(gauge, { bar: clamp(bar) });
  }
  const told = typeof low === "number" ? `${percent(value)}, at least ${percent(low)}` : percent(value);
  return h("span", { class: "quality", title: told }, gauge, h("span", {}, percent(value)));
}

export function share(value) {
  if (typeof value !== "number") return document.createTextNode(UNKNOWN);
  return h("span", { class: "share" },
    h("span", { class: "gauge", "aria-hidden": "true", vars: { value: clamp(value) } }, h("i")),
    h("span", {}, percent(value, 0)));
}

export function progress(value, label) {
  const done = clamp(value ?? 0);
  return h("div", { class: "progress", role: "progressbar", "aria-label": label, "aria-valuemin": 0,
    "aria-valuemax": 100, "aria-valuenow": Math.round(done * 100), vars: { value: done } }, h("i"));
}

export function two(main, small) {
  return h("span", { class: "two" }, h("span", {}, main), h("small", {}, small));
}

export function clip(text, className = "") {
  return h("span", { class: `clip ${className}`, title: text }, text);
}

export function card(title, note, ...children) {
  return h("section", { class: "card" },
    h("header", {}, h("h2", {}, title), note instanceof Node ? note : note ? h("p", {}, note) : null), children);
}

export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export function pageHead(title, lead, ...controls) {
  return h("div", { class: "page-head" },
    h("div", {}, h("h1", {}, title), lead ? h("p", { class: "lead" }, lead) : null),
    h("div", { class: "controls" }, controls));
}

/** choices: [[value, label]]; calls `pick(value)` when another one is chosen. */
export function segmented(label, choices, chosen, pick) {
  const buttons = choices.map(([value, text]) =>
    h("button", { type: "button", "aria-pressed": String(value === chosen), onclick: () => choose(value) }, text));
  function choose(value) {
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(choices[index][0] === value)));
    pick(value);
  }
  return h("div", { class: "segmented", role: "group", "aria-label": label }, buttons);
}

export function toggle(label, on, change) {
  const input = h("input", { type: "checkbox", role: "switch", checked: on });
  input.addEventListener("change", () => change(input.checked));
  return h("label", { class: "switch" }, input, label);
}

function clamp(value) {
  return Math.min(1, Math.max(0, value));
}
