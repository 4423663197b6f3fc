// The frame of the page: menu, sign-in, and which page is open.
// Owns: the hash routes and the life of a page (open, close). Must not know a page's inside.

import { h, icon, replace } from "./dom.js";
import { keepTimesFresh } from "./format.js";
import { adoptFromAddress, onChange, signIn, signOut, token } from "./session.js";
import { standing } from "./standing.js";
import * as decision from "./decision.js";
import * as decisions from "./decisions.js";
import * as overview from "./overview.js";
import * as policy from "./policy.js";
import * as table from "./table.js";
import * as tables from "./tables.js";
import * as training from "./training.js";

const MENU = [
  ["overview", "Overview"],
  ["decisions", "Decisions"],
  ["policy", "Policy"],
  ["tables", "Tables & fleet"],
  ["training", "Training"],
];
const PAGES = { overview, decisions, policy, tables, training };
const DETAILS = { decisions: decision, tables: table, training };

const app = document.getElementById("app");
let frame = null;
let open = null;

/** `#/decisions/ID?x=y` → { noun, detail, query } */
function place() {
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
  const [noun, ...rest] = path.split("/");
  let detail = rest.join("/");
  try {
    detail = decodeURIComponent(detail);
  } catch {
    // Not encoded by us: looked up as it stands.
  }
  return { noun: Object.hasOwn(PAGES, noun) ? noun : "overview", detail: detail || null, query: new URLSearchParams(search ?? "") };
}

function closePage() {
  open?.close();
  open = null;
}

function showPage() {
  const { noun, detail, query } = place();
  const module = (detail && DETAILS[noun]) || PAGES[noun];
  const main = frame.main;
  const same = open && open.module === module && open.again?.({ detail, query });
  for (const link of frame.links) {
    if (link.dataset.noun === noun) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const name = MENU.find(([key]) => key === noun)[1];
  document.title = `${detail ? `${detail.slice(0, 24)} · ` : ""}${name} · Spillway`;
  if (same) return;
  closePage();
  const page = h("div", { class: "page" });
  replace(main, page);
  open = { module, ...module.mount(page, { detail, query }) };
  window.scrollTo(0, 0);
}

function showFrame() {
  const links = MENU.map(([noun, name]) =>
    h("a", { href: `#/${noun}`, "data-noun": noun, title: name }, icon(noun), h("span", {}, name)));
  const status = standing();
  const main = h("main", { class: "main", id: "main", tabindex: "-1" });
  const side = h("aside", { class: "side" },
    h("a", { class: "brand", href: "#/overview", title: "Spillway" }, h("img", { src: "logo.svg", alt: "" }), h("span", {}, "Spillway")),
    h("nav", { class: "menu", "aria-label": "Pages" }, links),
    status.element,
    h("button", { class: "leave", type: "button", title: "Sign out", onclick: () => signOut("asked") }, icon("sign-out"), h("span", {}, "Sign out")));
  replace(app, h("div", { class: "frame" }, side, main));
  frame = { main, links, status };
  showPage();
}

function showSignIn(why) {
  const input = h("input", { class: "input mono", type: "password", name: "token", autocomplete: "current-password", required: true, spellcheck: "false" });
  const form = h("form", { "aria-label": "Sign in" },
    h("img", { src: "logo.svg", alt: "" }),
    h("h1", {}, "Sign in to Spillway"),
    h("p", {}, "Use the admin token. Spillway printed an address with it when it first started, and keeps it in a file beside its data."),
    why === "refused" ? h("p", { class: "bad", role: "alert" }, "The server refused that token. Check that it belongs to this Spillway.") : null,
    h("label", {}, "Admin token", input),
    h("button", { class: "button primary", type: "submit" }, "Sign in"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.value.trim()) signIn(input.value);
  });
  document.title = "Sign in · Spillway";
  replace(app, h("div", { class: "sign-in" }, form));
  input.focus();
}

function show(why) {
  closePage();
  frame?.status.close();
  frame = null;
  if (token()) showFrame();
  else showSignIn(why);
}

addEventListener("hashchange", () => {
  const before = token();
  adoptFromAddress();
  if (token() !== before) show("in");
  else if (frame) showPage();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main")?.focus();
});
onChange(show);
adoptFromAddress();
keepTimesFresh();
show("asked");
