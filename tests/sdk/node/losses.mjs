// The cells that cannot be had: owns why, by the names of docs/dialects.md where it is the
// dialects' affair. Each is asserted, so that a cell which becomes possible is noticed.

import assert from "node:assert/strict";

import { FEATURES, refused } from "./features.mjs";

const AI_RESPONSES = ["ai openai-responses", "ai openai-responses store=false"];
const WITHOUT_ONE_CALL = ["gemini-3-sim", "gemini-3-steps", "claude-bedrock"];
/** Providers that say SAFETY and no word. */
const WITHOUT_WORDS = ["gemini-3-sim", "gemini-3-steps"];
/** What takes a second turn after a text. */
const TURNS = ["turns", "tool", "tool streamed", "two tools", "two tools streamed", "reasoned call", "moved reasoning"];

/** What is lost in this cell, if anything is: {name, reason, check}. */
export function loss(client, provider, feature) {
  const rule = RULES.find((rule) => rule.when(client, provider, feature));
  return rule && { ...rule, check: rule.refused ? isRefused(rule.name) : isAbsent };
}

const RULES = [
  {
    name: "no helper",
    reason: "the SDK has none",
    when: (client, _, feature) => feature === "models" && client.startsWith("ai "),
  },
  {
    name: "stop",
    reason: "Responses has no such field, and the SDK leaves it out with a warning",
    when: (client, _, feature) => feature === "stop" && AI_RESPONSES.includes(client),
  },
  {
    name: "stop",
    reason: "Responses has no such field: it is an unknown one",
    refused: true,
    when: (client, _, feature) => feature === "stop" && client === "node openai-responses",
  },
  {
    name: "stop",
    reason: "Responses has no such field",
    refused: true,
    when: (_, provider, feature) => feature === "stop" && provider === "responses-1",
  },
  {
    name: "one_call",
    reason: "Gemini and Converse have no such field",
    when: (client, provider, feature) =>
      feature === "one call" && (client === "ai google" || WITHOUT_ONE_CALL.includes(provider)),
  },
  {
    name: "reasoning tokens",
    reason: "Converse does not say what of its output was reasoning",
    when: (_, provider, feature) => feature === "reasoning tokens" && provider === "claude-bedrock",
  },
  {
    name: "refusal text",
    reason: "Gemini says SAFETY and no word",
    when: (_, provider, feature) => feature === "refusal text" && WITHOUT_WORDS.includes(provider),
  },
  {
    name: "reasoning",
    reason: "@ai-sdk/openai does not read `reasoning_content`",
    when: (client, _, feature) => client === "ai openai-chat" && ["reasoning", "reasoning streamed"].includes(feature),
  },
  {
    name: "state",
    reason: "the SDK refers to earlier answers by their ids, which only OpenAI keeps",
    refused: true,
    when: (client, provider, feature) =>
      client === "ai openai-responses" &&
      (provider === "responses-1" ? feature === "moved reasoning" : TURNS.includes(feature)),
  },
];

/** The proxy refuses the request with 400 and names the loss. */
const isRefused = (name) => (client, provider, feature) =>
  refused(client, 400, new RegExp(name), FEATURES[feature](client, provider));

/** There is an answer, without the feature; or the SDK has no such helper. */
const isAbsent = (client, provider, feature) =>
  assert.rejects(async () => FEATURES[feature](client, provider), /^AssertionError|not there/);
