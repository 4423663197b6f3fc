// Tables whose rows come and go while someone reads them.
// Owns: keyed rows, so that an update changes cells and not the table.
// Must not know what a row means: columns say how a cell is written.

import { h, settle } from "./dom.js";

/**
 * columns: [{ name, cell(row) -> text | Node, number?, class?, hint? }]
 * options: { key(row), href?(row), rowClass?(row), current?(row), caption }
 */
export function grid(columns, { key, href, rowClass, current, caption, className }) {
  const head = h("tr", {}, columns.map((column) =>
    h("th", { scope: "col", class: column.number ? "number" : null, title: column.hint }, column.name)));
  const body = h("tbody");
  const element = h("div", { class: `scroll ${className ?? ""}` },
    h("table", { "aria-label": caption }, h("thead", {}, head), body));
  const rows = new Map();

  function open(event) {
    const target = event.currentTarget;
    if (event.target.closest("a, button") || String(getSelection())) return;
    const to = target.dataset.href;
    if (!to) return;
    if (event.ctrlKey || event.metaKey) window.open(to, "_blank", "noopener");
    else location.hash = to;
  }

  function make() {
    const row = h("tr", {}, columns.map((column) =>
      h("td", { class: [column.number ? "number" : "", column.class ?? ""].join(" ").trim() || null })));
    if (href) row.addEventListener("click", open);
    return row;
  }

  function write(element, row) {
    columns.forEach((column, index) => settle(element.children[index], column.cell(row)));
    const classes = [href ? "opens" : "", rowClass?.(row) ?? ""].join(" ").trim();
    if (element.className !== classes) element.className = classes;
    if (href) element.dataset.href = href(row);
    if (current) element.setAttribute("aria-current", String(Boolean(current(row))));
  }

  function set(list) {
    const seen = new Set();
    let place = body.firstChild;
    for (const row of list) {
      const id = String(key(row));
      if (seen.has(id)) continue;
      seen.add(id);
      let element = rows.get(id);
      if (!element) {
        element = make();
        rows.set(id, element);
      }
      write(element, row);
      if (element === place) place = place.nextSibling;
      else body.insertBefore(element, place);
    }
    for (const [id, element] of rows) {
      if (seen.has(id)) continue;
      element.remove();
      rows.delete(id);
    }
  }

  return { element, set };
}
