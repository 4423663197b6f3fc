// The policy text being edited in this tab.
// Owns: the text, the version it builds on, whether it was validated, keeping it over a reload.
// Must not know the page or the server.

const DRAFT_KEY = "spillway.draft";

export function keptDraft() {
  try {
    return JSON.parse(sessionStorage.getItem(DRAFT_KEY));
  } catch {
    return null;
  }
}

export function keepDraft(draft) {
  if (draft) sessionStorage.setItem(DRAFT_KEY, JSON.stringify(draft));
  else sessionStorage.removeItem(DRAFT_KEY);
}

export class Draft {
  constructor(told, kept) {
    this.told = told;
    this.base = told.version;
    this.text = told.text;
    this.validated = null;
    if (kept && kept.text !== told.text) {
      this.text = kept.text;
      this.base = kept.base;
    }
  }

  get changed() {
    return this.text !== this.told.text;
  }

  get valid() {
    return this.validated === this.text;
  }

  edit(text) {
    this.text = text;
    keepDraft(this.changed ? { text, base: this.base } : null);
  }
}
