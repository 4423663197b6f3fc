// What a test asks of any client, and what it hears: owns the neutral forms. Knows no SDK.
//
// An ask is {turns, system?, tools?, choice?, parallel?, schema?, effort?, stop?, limit?}; a
// turn is {user, images?}, an answer, or {results: [[call, text], …]}. An answer is {text,
// calls, end, input, output, reasoning, reasoningTokens, native, deltas?}; `native` is what
// the SDK wants back in the next turn. A client has whole, stream, parse, cancel, status.

import { z } from "zod";

export const URL = (process.env.SPILLWAY_URL ?? "").replace(/\/$/, "");
export const KEY = process.env.SPILLWAY_KEY ?? "";
export const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/** The form that structured answers are asked in. */
export const Gauge = z.object({ river: z.string(), metres: z.number().int() });
export const GAUGE = { river: "sample", metres: 7 };
export const SCHEMA = {
  type: "object",
  properties: { river: { type: "string" }, metres: { type: "integer" } },
  required: ["river", "metres"],
  additionalProperties: false,
};

/** A tool that an SDK may run itself. */
export const River = z.object({ river: z.string() });
export async function depthOf({ river }) {
  if (river !== "sample") throw new Error(`called with ${river}`);
  return "21 m";
}

const tool = (name) => ({
  name,
  description: `The ${name.split("_")[0]} of a river in metres`,
  schema: {
    type: "object",
    properties: { river: { type: "string" } },
    required: ["river"],
    additionalProperties: false,
  },
});
export const DEPTH = tool("depth_of");
export const LENGTH = tool("length_of");

/** An object without its empty members. */
export const given = (fields) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null));
