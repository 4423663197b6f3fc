// The JSON API, one function per call.
// Owns: addresses, the bearer header, deadlines, and turning every failure into a Refusal.
// Must not know the page: what a failure looks like is the caller's business.

import { signOut, token } from "./session.js";

const BASE = new URL("api/v1/", document.baseURI);
/** Reading is quick; replaying a day or starting a run may take a while. */
const READ_DEADLINE_MS = 15_000;
const WORK_DEADLINE_MS = 120_000;

export class Refusal extends Error {
  constructor(status, code, message, details) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

async function refusalOf(response) {
  let told = null;
  try {
    told = (await response.json()).error;
  } catch {
    // Not one of our errors: a proxy in between, or nothing at all.
  }
  const message = told?.message ?? `The server answered ${response.status} without saying why.`;
  const details = Array.isArray(told?.details) ? told.details : [];
  return new Refusal(response.status, told?.code ?? "unknown", message, details);
}

async function call(method, path, { query, body, deadline = READ_DEADLINE_MS, signal } = {}) {
  const address = new URL(path, BASE);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== "") address.searchParams.set(name, value);
  }
  const sent = token();
  const headers = { accept: "application/json" };
  if (sent) headers.authorization = `Bearer ${sent}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const limit = AbortSignal.timeout(deadline);
  let response;
  try {
    response = await fetch(address, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (failure) {
    if (signal?.aborted) throw failure;
    const slow = limit.aborted;
    throw new Refusal(0, slow ? "timeout" : "unreachable",
      slow ? `No answer within ${deadline / 1000} seconds.` : "The control plane does not answer.", []);
  }
  if (response.ok) {
    try {
      return await response.json();
    } catch (failure) {
      if (signal?.aborted) throw failure;
      throw new Refusal(response.status, "garbled", "The answer was not JSON.", []);
    }
  }
  const refusal = await refusalOf(response);
  // A late 401 for an older token must not throw away a newer one.
  if (response.status === 401 && sent === token()) signOut("refused");
  throw refusal;
}

const get = (path, query, signal) => call("GET", path, { query, signal });
const post = (path, body, deadline) => call("POST", path, { body, deadline });
const segment = encodeURIComponent;

export const overview = (window, signal) => get("overview", { window }, signal);
export const requests = (filter, signal) => get("requests", filter, signal);
export const request = (id, signal) => get(`requests/${segment(id)}`, undefined, signal);
export const policy = (signal) => get("policy", undefined, signal);
export const validatePolicy = (text) => post("policy/validate", { text });
export const publishPolicy = (text, expected_version) => post("policy", { text, expected_version });
export const whatIf = (text, window_s, limit) => post("what-if", { text, window_s, limit }, WORK_DEADLINE_MS);
export const tables = (signal) => get("tables", undefined, signal);
export const table = (version, signal) => get(`tables/${segment(version)}`, undefined, signal);
export const rollBack = (version, expected_current) => post(`tables/${segment(version)}/roll-back`, { expected_current });
export const fleet = (signal) => get("fleet", undefined, signal);
export const training = (signal) => get("training", undefined, signal);
export const train = () => post("training", {}, WORK_DEADLINE_MS);
