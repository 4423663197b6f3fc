// Numbers and times as people read them.
// Owns: how money, shares, durations and moments are written, and keeping relative times fresh.
// Must not know where a number comes from. Unknown is always "–", never 0.

import { h, setText } from "./dom.js";

export const UNKNOWN = "–";
const known = (value) => typeof value === "number" && Number.isFinite(value);
const grouped = new Intl.NumberFormat("en-US");
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const dayAndTime = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

/** Two significant digits below a dollar, cents up to a thousand, whole dollars above. */
export function usd(value) {
  if (!known(value)) return UNKNOWN;
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (size === 0) return "$0";
  if (size < 1e-8) return `${sign}<$0.00000001`;
  if (size >= 999.995) return `${sign}$${grouped.format(Math.round(size))}`;
  if (size >= 0.995) return `${sign}$${size.toFixed(2)}`;
  const digits = Math.min(9, 1 - Math.floor(Math.log10(size)));
  return `${sign}$${size.toFixed(digits)}`;
}

export function usdDelta(value) {
  if (!known(value)) return UNKNOWN;
  return value > 0 ? `+${usd(value)}` : usd(value);
}

export function count(value) {
  if (!known(value)) return UNKNOWN;
  return Math.abs(value) >= 100_000 ? compact.format(value) : grouped.format(Math.round(value));
}

export function percent(value, digits = 1) {
  if (!known(value)) return UNKNOWN;
  return `${(value * 100).toFixed(digits).replace("-", "−")}%`;
}

/** A difference of two shares, in percentage points. */
export function points(value) {
  if (!known(value)) return UNKNOWN;
  const written = (Math.abs(value) * 100).toFixed(1);
  if (written === "0.0") return "±0.0 pt";
  return `${value > 0 ? "+" : "−"}${written} pt`;
}

export function decimal(value, digits = 3) {
  return known(value) ? value.toFixed(digits).replace("-", "−") : UNKNOWN;
}

/** For λ and the like, whose size is not known beforehand. */
export function figure(value) {
  if (!known(value)) return UNKNOWN;
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e6 || size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

export function duration(ms) {
  if (!known(ms)) return UNKNOWN;
  if (ms === 0) return "0 ms";
  if (ms < 1) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_995) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 99_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 2_880) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(minutes / 1_440)} d ${Math.floor((minutes % 1_440) / 60)} h`;
}

export function relative(at, now = Date.now()) {
  if (!known(at) || at <= 0) return UNKNOWN;
  const seconds = Math.round((now - at) / 1000);
  if (seconds < -5) return dayAndTime.format(at);
  if (seconds < 2) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ago`;
  if (seconds < 7 * 86_400) return `${Math.floor(seconds / 86_400)} d ago`;
  return dayAndTime.format(at);
}

/** A `<time>` that keeps itself fresh; the exact moment is its tooltip. */
export function moment(at) {
  if (!known(at) || at <= 0) return document.createTextNode(UNKNOWN);
  const date = new Date(at);
  return h("time", { datetime: date.toISOString(), title: absolute.format(date), "data-at": at }, relative(at));
}

export function keepTimesFresh() {
  setInterval(() => {
    if (document.hidden) return;
    const now = Date.now();
    for (const element of document.querySelectorAll("time[data-at]")) {
      setText(element, relative(Number(element.dataset.at), now));
    }
  }, 1_000);
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function shortId(id) {
  const text = String(id ?? "");
  return text.length > 14 ? `${text.slice(0, 4)}…${text.slice(-8)}` : text;
}
