// The editor of the policy with its buttons: validate, discard, publish.
// Owns: what each button does and when it may be pressed; flaws and conflicts.
// Must not judge a policy: flaws come from the server.

import * as api from "./api.js";
import { difference } from "./difference.js";
import { keepDraft } from "./draft.js";
import { h, replace, setText } from "./dom.js";
import { Editor } from "./editor.js";
import { plural } from "./format.js";
import { busy, confirm, failed, notice } from "./notice.js";
import { chip } from "./parts.js";

const button = (name, act, kind = "") => h("button", { class: `button ${kind}`, type: "button", "data-act": act }, name);

export class Workbench {
  #status = h("span", { role: "status" }, "");
  #caption = h("span", {}, "");
  #list = h("div", { class: "flaws", hidden: true });
  #validate = button("Validate", "validate");
  #publish = button("Publish", "publish", "primary");
  #revert = button("Discard changes", "revert");
  #sheet;
  #draft;
  #trouble;
  #reload;
  #published;
  #flaws = [];

  constructor(draft, trouble, reload, published) {
    this.#draft = draft;
    this.#trouble = trouble;
    this.#reload = reload;
    this.#published = published;
    this.#sheet = new Editor({ label: "Policy, in TOML", change: (text) => this.#edited(text), submit: () => this.#check() });
    this.#validate.addEventListener("click", () => this.#check());
    this.#publish.addEventListener("click", () => this.#send());
    this.#revert.addEventListener("click", () => this.#discard());
    this.element = h("section", { class: "card" },
      h("header", {}, h("h2", {}, "policy.toml"), h("div", { class: "actions" }, this.#status, this.#revert, this.#validate, this.#publish)),
      this.#sheet.element, this.#list,
      h("div", { class: "editor-foot" }, this.#caption, h("span", { id: "editor-hint" }, "Ctrl+S validates. Esc, then Tab, leaves the editor.")));
  }

  /** Called once the bench is in the page. */
  ready() {
    const draft = this.#draft;
    this.#sheet.set(draft.text);
    this.#refresh();
    if (draft.base !== draft.told.version) this.#conflicted();
    else if (draft.changed) this.#trouble.show(notice("", "Your unpublished draft was kept", "It is from earlier in this tab. Discard changes brings back the published text."));
  }

  /** Shows flaws at their lines, anything else as a banner. */
  refused(failure, what) {
    if (failure.code === "invalid" && failure.details?.length) {
      this.#trouble.clear();
      this.#judged(failure.details);
    } else {
      this.#trouble.show(failed(what, failure));
    }
  }

  #standing() {
    const { valid, changed } = this.#draft;
    if (this.#flaws.length) return ["bad", plural(this.#flaws.length, "flaw")];
    if (valid) return ["good", changed ? "valid, not published" : "valid, as published"];
    return changed ? ["warn", "changed, not validated"] : ["", "as published"];
  }

  #refresh() {
    const { valid, changed, base, told } = this.#draft;
    this.#revert.hidden = !changed;
    const busyNow = this.#publish.getAttribute("aria-busy") === "true";
    this.#publish.disabled = busyNow || !(valid && changed);
    this.#publish.title = !valid ? "Validate first" : changed ? "" : "Nothing differs from the published policy";
    const [kind, text] = this.#standing();
    replace(this.#status, chip(kind, text, true));
    setText(this.#caption, `On version ${base}${told.author && base === told.version ? `, by ${told.author}` : ""}`);
  }

  #judged(flaws) {
    this.#flaws = flaws;
    this.#draft.validated = flaws.length ? null : this.#draft.text;
    this.#sheet.flaws(flaws);
    replace(this.#list, flaws.map((flaw) =>
      h("button", { type: "button", "data-line": flaw.line ?? "", onclick: () => flaw.line && this.#sheet.goTo(flaw.line) },
        h("span", { class: "where" }, flaw.line ? `Line ${flaw.line}` : "Policy"),
        h("span", {}, flaw.message, flaw.field ? [" ", h("span", { class: "field" }, flaw.field)] : null))));
    this.#list.hidden = flaws.length === 0;
    this.#refresh();
  }

  #edited(text) {
    this.#draft.edit(text);
    this.#flaws = [];
    this.#list.hidden = true;
    this.#refresh();
  }

  async #check() {
    const text = this.#draft.text;
    await busy(this.#validate, "Validating…", async () => {
      try {
        const told = await api.validatePolicy(text);
        if (text !== this.#draft.text) return;
        this.#trouble.clear();
        this.#judged(told.ok ? [] : told.errors);
      } catch (failure) {
        this.refused(failure, "The policy could not be validated");
      }
    });
  }

  async #send() {
    const { text, base, told } = this.#draft;
    const sure = await confirm({
      title: "Publish this policy?",
      text: "It becomes a new version, is compiled to a table and reaches every proxy within seconds. You can roll back from Tables & fleet.",
      body: difference(told.text, text),
      yes: "Publish",
    });
    if (!sure) return;
    await busy(this.#publish, "Publishing…", async () => {
      try {
        this.#sent(text, await api.publishPolicy(text, base));
      } catch (failure) {
        if (failure.code === "conflict" || failure.status === 409) await this.#conflicted();
        else this.refused(failure, "The policy was not published");
      }
    });
    this.#refresh();
  }

  #sent(text, answer) {
    const draft = this.#draft;
    draft.told = { ...draft.told, version: answer.version, text, author: null };
    draft.base = answer.version;
    keepDraft(draft.changed ? { text: draft.text, base: draft.base } : null);
    this.#trouble.show(notice("good", `Published as version ${answer.version}`,
      `It is in table v${answer.table_version}. Tables & fleet shows which proxies have taken it.`,
      h("a", { class: "button small", href: "#/tables" }, "See the fleet")));
    this.#published().catch(() => {}); // The history card then stays as it was.
  }

  async #discard() {
    const { text, told } = this.#draft;
    const sure = await confirm({ title: "Discard your changes?", text: "The editor goes back to the published text.", body: difference(text, told.text), yes: "Discard", danger: true });
    if (sure) this.#reload();
  }

  async #conflicted() {
    let newest = null;
    try {
      newest = await api.policy();
    } catch {
      // The banner then cannot name the version; reloading will say why.
    }
    const name = newest ? `version ${newest.version}` : "the newest version";
    const reload = h("button", { class: "button small", type: "button", "data-act": "reload", onclick: () => this.#reload() }, `Reload ${name}`);
    const keep = newest ? h("button", { class: "button small", type: "button", onclick: () => this.#rebase(newest) }, "Keep my text") : null;
    const who = newest?.author ? ` by ${newest.author}` : "";
    this.#trouble.show(notice("bad", "Someone else published first",
      `You edited version ${this.#draft.base}; meanwhile ${name} was published${who}. Nothing was overwritten. Reload takes theirs and drops your text; keeping yours lets you compare before you publish.`,
      keep, reload));
  }

  #rebase(newest) {
    const draft = this.#draft;
    draft.told = newest;
    draft.base = newest.version;
    draft.validated = null;
    draft.edit(draft.text);
    this.#refresh();
    this.#trouble.show(notice("warn", `Your text now builds on version ${newest.version}`,
      "Publishing replaces that version as a whole. The dialog shows every line that differs."));
  }
}
