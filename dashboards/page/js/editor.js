// A plain text editor for TOML: line numbers, colours, marks at wrong lines, the tab key.
// Owns: the text and its looks. Must not know what a policy is or whether it is right.

import { h, replace } from "./dom.js";

const LINE_PX = 20;
const INDENT = "  ";
/** First match wins, from the left: comment, string, number or truth. */
const TOKENS = /(#.*$)|("(?:[^"\\]|\\.)*"?|'[^']*'?)|(?<![\w.-])([+-]?\d[\d_]*(?:\.[\d_]+)?(?:e[+-]?\d+)?(?![\w-])|true\b|false\b)/gi;
const CLASSES = [null, "comment", "text", "literal"];

function coloured(line) {
  const head = /^\s*\[\[?[^\]#]*\]\]?(?=\s*(#|$))/.exec(line);
  if (!head) return pieces(line);
  return [h("span", { class: "head" }, head[0]), ...pieces(line.slice(head[0].length))];
}

function pieces(line) {
  const found = [];
  let from = 0;
  for (const match of line.matchAll(TOKENS)) {
    if (match.index > from) found.push(line.slice(from, match.index));
    const group = [1, 2, 3].find((place) => match[place] !== undefined);
    found.push(h("span", { class: CLASSES[group] }, match[0]));
    from = match.index + match[0].length;
  }
  if (from < line.length) found.push(line.slice(from));
  return found;
}

/** `change(text)` after each edit; `submit()` on Ctrl+S or Ctrl+Enter. */
export class Editor {
  #numbers = h("div", { class: "numbers" });
  #paper = h("pre");
  #area;
  #wrong = new Map();
  #lines = [];
  #mayLeave = false; // After Escape, Tab moves on: a keyboard must not be caught.
  #change;
  #submit;

  constructor({ label, change, submit }) {
    this.#change = change;
    this.#submit = submit;
    this.#area = h("textarea", { "aria-label": label, "aria-describedby": "editor-hint", spellcheck: "false",
      autocomplete: "off", autocapitalize: "off", wrap: "off" });
    this.element = h("div", { class: "editor" },
      h("div", { class: "gutter", "aria-hidden": "true" }, this.#numbers),
      h("div", { class: "sheet" }, h("div", { class: "colours", "aria-hidden": "true" }, this.#paper), this.#area));
    this.#area.addEventListener("keydown", (event) => this.#pressed(event));
    this.#area.addEventListener("scroll", () => this.#scrolled());
    this.#area.addEventListener("input", () => this.#edited());
    for (const event of ["keyup", "click", "focus"]) this.#area.addEventListener(event, () => this.#mark());
  }

  set(text) {
    this.#area.value = text;
    this.#area.setSelectionRange(0, 0);
    this.#area.scrollTop = 0;
    this.#wrong = new Map();
    this.#lines = [];
    replace(this.#paper);
    replace(this.#numbers);
    this.#draw();
  }

  /** flaws: [{ line, message }]; one without a line only shows in the list beside. */
  flaws(list) {
    this.#wrong = new Map();
    for (const { line, message } of list) {
      if (line) this.#wrong.set(line, this.#wrong.has(line) ? `${this.#wrong.get(line)}\n${message}` : message);
    }
    this.#mark();
  }

  goTo(line) {
    const before = this.#lines.slice(0, line - 1);
    const at = before.reduce((sum, one) => sum + one.length + 1, 0);
    this.#area.focus();
    this.#area.setSelectionRange(at, at + (this.#lines[line - 1]?.length ?? 0));
    this.#area.scrollTop = Math.max(0, (line - 8) * LINE_PX);
    this.#mark();
  }

  #edited() {
    this.#wrong = new Map();
    this.#draw();
    this.#change(this.#area.value);
  }

  #scrolled() {
    this.#paper.style.transform = `translate(${-this.#area.scrollLeft}px, ${-this.#area.scrollTop}px)`;
    this.#numbers.style.transform = `translateY(${-this.#area.scrollTop}px)`;
  }

  /** Only lines that changed are drawn again. */
  #draw() {
    const [paper, numbers] = [this.#paper, this.#numbers];
    const next = this.#area.value.split("\n");
    next.forEach((line, index) => {
      if (!numbers.children[index]) numbers.append(h("span", {}, index + 1));
      const present = paper.children[index];
      if (present && this.#lines[index] === line) return;
      const drawn = h("span", { class: "line" }, coloured(line));
      if (present) present.replaceWith(drawn);
      else paper.append(drawn);
    });
    while (paper.children.length > next.length) paper.lastChild.remove();
    while (numbers.children.length > next.length) numbers.lastChild.remove();
    this.#lines = next;
    this.#mark();
    this.#scrolled();
  }

  #mark() {
    const here = this.#area.value.slice(0, this.#area.selectionStart).split("\n").length;
    this.#lines.forEach((_, index) => {
      const flaw = this.#wrong.get(index + 1);
      this.#paper.children[index].classList.toggle("wrong", Boolean(flaw));
      const number = this.#numbers.children[index];
      number.className = flaw ? "wrong" : index + 1 === here ? "here" : "";
      if (flaw) number.title = flaw;
      else number.removeAttribute("title");
    });
  }

  #pressed(event) {
    if (event.key === "Escape") {
      this.#mayLeave = true;
      return;
    }
    const area = this.#area;
    if (event.key === "Tab" && !this.#mayLeave) {
      event.preventDefault();
      const several = area.value.slice(area.selectionStart, area.selectionEnd).includes("\n");
      if (event.shiftKey || several) this.#shift(event.shiftKey);
      else this.#insert(INDENT);
    } else if ((event.ctrlKey || event.metaKey) && (event.key === "s" || event.key === "Enter")) {
      event.preventDefault();
      this.#submit();
    }
    if (!["Tab", "Shift"].includes(event.key)) this.#mayLeave = false;
  }

  #insert(text) {
    // execCommand is old but the only way that keeps the browser's undo.
    if (document.execCommand("insertText", false, text)) return;
    this.#area.setRangeText(text, this.#area.selectionStart, this.#area.selectionEnd, "end");
    this.#edited();
  }

  /** Moves the chosen lines one step right, or left. */
  #shift(back) {
    const { value, selectionStart, selectionEnd } = this.#area;
    const from = value.lastIndexOf("\n", selectionStart - 1) + 1;
    const to = selectionEnd > selectionStart && value[selectionEnd - 1] === "\n" ? selectionEnd - 1 : selectionEnd;
    const end = value.indexOf("\n", to) < 0 ? value.length : value.indexOf("\n", to);
    const block = value.slice(from, end);
    const moved = block.split("\n").map((line) => (back ? line.replace(/^ {1,2}/, "") : INDENT + line)).join("\n");
    if (moved === block) return;
    this.#area.setSelectionRange(from, end);
    this.#insert(moved);
    this.#area.setSelectionRange(from, from + moved.length);
  }
}
