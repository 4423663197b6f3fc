// Making and renewing elements.
// Owns: the only ways this page builds markup: elements and text nodes, never strings of HTML.
// Must not know any page, nor fetch anything.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/** `h("a", { class: "x", href, onclick, vars: { value: 0.4 } }, "text", node)` */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "vars") setVars(element, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  return fill(element, children);
}

export function svg(tag, props = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props)) element.setAttribute(name, String(value));
  return fill(element, children);
}

/** Custom properties through the CSSOM: the policy forbids style attributes. */
export function setVars(element, vars) {
  for (const [name, value] of Object.entries(vars)) element.style.setProperty(`--${name}`, String(value));
}

export function icon(name) {
  return h("span", { class: `icon ${name}`, "aria-hidden": "true" });
}

export function replace(container, ...children) {
  container.replaceChildren();
  return fill(container, children);
}

/** Changes the text only if it differs, so that a selection and the layout stay. */
export function setText(element, text) {
  const next = String(text);
  if (element.textContent !== next) element.textContent = next;
}

/** Puts `child` into `container` unless what is there looks just the same. */
export function settle(container, child) {
  const node = child instanceof Node ? child : document.createTextNode(String(child ?? ""));
  const present = container.childNodes.length === 1 ? container.firstChild : null;
  if (present && present.isEqualNode(node)) return;
  container.replaceChildren(node);
}
