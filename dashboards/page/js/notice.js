// What the page says when something failed, is empty, or must be confirmed.
// Owns: banners, blanks, skeletons and the confirm dialog, and what to do about each failure.
// Must not know which page asked.

import { Refusal } from "./api.js";
import { h, icon, replace } from "./dom.js";

const ADVICE = {
  unreachable: "Check that the spillway process runs and that this address is reachable. The page keeps trying.",
  timeout: "The control plane is busy or stuck. The page keeps trying; its log says what it is doing.",
  conflict: "Someone else changed it first. Reload, look at their change, then try again.",
  not_found: "It may have been swept from history. Go back to the list.",
  forbidden: "This token may look but not do this. Sign in with an admin token.",
};

export function adviceFor(failure) {
  if (!(failure instanceof Refusal)) return "Reload the page. If it happens again, report it with the browser's console.";
  if (ADVICE[failure.code]) return ADVICE[failure.code];
  if (failure.status === 401) return "Sign in again.";
  if (failure.status === 404) return ADVICE.not_found;
  if (failure.status === 409) return ADVICE.conflict;
  if (failure.status >= 500) return "The control plane failed. Its log has the cause; the proxies keep serving without it.";
  return "Correct the input and try again.";
}

export function notice(kind, title, text, ...actions) {
  return h("div", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" },
    icon(kind === "good" ? "check" : "alert"),
    h("div", {}, h("strong", {}, title), text ? h("p", {}, text) : null),
    h("div", { class: "actions" }, actions));
}

/** Servers write errors in lower case and without a full stop; a banner is prose. */
function sentence(message) {
  const text = String(message).trim();
  const written = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(written) ? written : `${written}.`;
}

export function failed(what, failure, ...actions) {
  return notice("bad", what, `${sentence(failure.message)} ${adviceFor(failure)}`, ...actions);
}

/** A place for one banner: `show(node)` or `clear()`. An equal banner is left as it is. */
export function banner() {
  const element = h("div", { class: "banner" });
  element.hidden = true;
  return {
    element,
    show(node) {
      element.hidden = false;
      if (element.firstChild?.isEqualNode(node)) return;
      replace(element, node);
    },
    clear() {
      element.hidden = true;
      element.replaceChildren();
    },
  };
}

export function blank(title, text, example) {
  return h("div", { class: "blank" }, icon("empty"), h("h2", {}, title), h("p", {}, text),
    example ? h("pre", {}, example) : null);
}

export function bones(lines = 6) {
  return h("div", { class: "bones", "aria-hidden": "true" },
    Array.from({ length: lines }, () => h("div", { class: "bone" })));
}

/** Resolves to true when confirmed. The dialog's own Escape means no. */
export function confirm({ title, text, body, yes, danger }) {
  return new Promise((resolve) => {
    const no = h("button", { class: "button", type: "button" }, "Cancel");
    const go = h("button", { class: `button ${danger ? "danger" : "primary"}`, type: "button", "data-act": "confirm" }, yes);
    const dialog = h("dialog", { "aria-label": title },
      h("div", { class: "ask" }, h("h2", {}, title), h("p", {}, text), body ?? null,
        h("div", { class: "actions" }, no, go)));
    let answer = false;
    no.addEventListener("click", () => dialog.close());
    go.addEventListener("click", () => {
      answer = true;
      dialog.close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    // Leaving the page means no, too.
    window.addEventListener("hashchange", () => dialog.close(), { once: true });
    document.body.append(dialog);
    dialog.showModal();
    (danger ? no : go).focus();
  });
}

/** Disables a button while its work runs, and never lets a second click through. */
export async function busy(button, label, work) {
  if (button.getAttribute("aria-busy") === "true") return undefined;
  const before = button.textContent;
  const was = button.disabled;
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  button.textContent = label;
  try {
    return await work();
  } finally {
    button.removeAttribute("aria-busy");
    button.disabled = was;
    button.textContent = before;
  }
}
