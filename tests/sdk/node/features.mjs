// What every client must be able to do with every provider: owns the checks, once for all.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { DEPTH, GAUGE, LENGTH, SCHEMA, URL } from "./forms.mjs";
import { openSockets } from "./sockets.mjs";

/** Routes to a provider each, of one dialect each. */
export const PROVIDERS = ["chat-1", "responses-1", "claude-1", "gemini-3-sim", "gemini-3-steps", "claude-bedrock"];
const LONG = "the river ".repeat(400);

const says = (way) => async (client, model) => {
  const heard = await client[way](model, { turns: [{ user: "the river is wide" }] });
  assert.equal(heard.text, "echo: the river is wide");
  assert.equal(heard.end, "stop");
  assert.equal(heard.calls.length, 0);
  assert.ok(heard.input > 0 && heard.output > 0);
  if (way === "stream") {
    assert.equal(heard.deltas.join(""), heard.text);
    assert.ok(heard.deltas.length > 1);
  }
};

/** Calls, results and the answer to them: what the SDK heard is what it sends back. */
const calls = (way, tools, cue, said) => async (client, model) => {
  const turns = [{ user: `please ${cue} for the Rhine` }];
  const heard = await client[way](model, { turns, tools });
  assert.deepEqual(heard.calls.map((call) => call.name), tools.map((tool) => tool.name));
  for (const call of heard.calls) assert.deepEqual(call.args, { river: "sample" });
  assert.equal(heard.end, "tools");
  turns.push(heard, { results: heard.calls.map((call, index) => [call, said[index]]) });
  const answer = await client[way](model, { turns, tools });
  assert.match(answer.text, new RegExp(`^The tool said: .*${said.join(".*")}`));
  assert.equal(answer.end, "stop");
  turns.push(answer, { user: "what did I say first" });
  const first = await client[way](model, { turns, tools });
  assert.ok(first.text.endsWith(`first: ${turns[0].user}`));
};
const oneCall = (way) => calls(way, [DEPTH], "call the tool", ["21 m"]);
const twoCalls = (way) => calls(way, [DEPTH, LENGTH], "call both tools", ["21 m", "1233 km"]);

const asks = (prompt, more, check) => async (client, model) =>
  check(await client.whole(model, { turns: [{ user: prompt }], ...more }));
const names = (heard) => heard.calls.map((call) => call.name);

async function turns(client, model) {
  const turns = [{ user: "good morning" }];
  turns.push(await client.whole(model, { turns }), { user: "what did I say first" });
  assert.equal((await client.whole(model, { turns })).text, "You said first: good morning");
}

const schema = (way) => async (client, model) => {
  const heard = await client[way](model, { turns: [{ user: "measure the Rhine" }], schema: SCHEMA });
  assert.deepEqual(JSON.parse(heard.text), GAUGE);
};

const reasoning = (way) => async (client, model) => {
  const heard = await client[way](model, { turns: [{ user: "the river" }], effort: "high" });
  assert.equal(heard.reasoning, "thinking about it");
  assert.equal(heard.text, "echo: the river");
};

/** Reasoning and a call in one turn, which then goes back: to its provider, or to all. */
const reasonedCall = (effort, everywhere) => async (client, model) => {
  const turns = [{ user: "please call the tool" }];
  const heard = await client.whole(model, { turns, tools: [DEPTH], effort });
  turns.push(heard, { results: [[heard.calls[0], "21 m"]] });
  for (const other of everywhere ? PROVIDERS : [model]) {
    assert.match((await client.whole(other, { turns, tools: [DEPTH], effort })).text, /21 m/);
  }
};

async function movedReasoning(client, model) {
  const turns = [{ user: "good morning" }];
  turns.push(await client.whole(model, { turns, effort: "high" }), { user: "what did I say first" });
  for (const other of PROVIDERS) {
    assert.equal((await client.whole(other, { turns, effort: "high" })).text, "You said first: good morning");
  }
}

const limit = (way) => async (client, model) => {
  const heard = await client[way](model, { turns: [{ user: LONG }], limit: 20 });
  assert.equal(heard.end, "length");
  assert.ok(heard.output > 0 && heard.output <= 20);
};

async function usage(client, model) {
  const ask = { turns: [{ user: "the river" }] };
  const [whole, stream] = [await client.whole(model, ask), await client.stream(model, ask)];
  assert.deepEqual([whole.input, whole.output], [stream.input, stream.output]);
}

/** The SDK's own error of a status, with these words. */
export async function refused(client, status, words, asking) {
  const error = await asking.then(() => assert.fail("it was answered"), (error) => error);
  assert.ok(error instanceof client.errors[status], `${error}`);
  assert.equal(error.status ?? error.statusCode, status);
  assert.match(`${error} ${error.responseBody}`, words);
}

const unknownModel = (client) => refused(client, 404, /nope/, client.whole("nope", { turns: [{ user: "hello" }] }));
const wrongKey = (client, model) =>
  refused(client, 401, /./, new client.constructor("sk-wrong").whole(model, { turns: [{ user: "hello" }] }));

/** The provider itself refuses it; its message comes through. */
const badRequest = (way) => (client, model) => {
  const words = /no_such_tool|no such tool|no function declaration/;
  const ask = { turns: [{ user: "hello" }], tools: [DEPTH], choice: "no_such_tool" };
  return refused(client, 400, words, client[way](model, ask));
};

/** Dropping a stream closes its connection, unless all of it was there already. */
async function cancel(client, model) {
  for (let tries = 0; tries < 10; tries++) {
    let during = [];
    await client.cancel(model, LONG, () => (during = openSockets(URL)));
    await sleep(20);
    const after = openSockets(URL);
    if (during.some((socket) => !after.includes(socket))) return;
  }
  assert.fail("no connection was closed");
}

export const FEATURES = {
  text: says("whole"),
  stream: says("stream"),
  system: asks("what is your instruction", { system: "Be brief." }, (heard) =>
    assert.equal(heard.text, "My instruction is: Be brief.")),
  turns,
  tool: oneCall("whole"),
  "tool streamed": oneCall("stream"),
  "two tools": twoCalls("whole"),
  "two tools streamed": twoCalls("stream"),
  "one call": asks("call both tools", { tools: [DEPTH, LENGTH], parallel: false }, (heard) =>
    assert.deepEqual(names(heard), ["depth_of"])),
  "tool forced": asks("hello", { tools: [DEPTH, LENGTH], choice: "length_of" }, (heard) =>
    assert.deepEqual(names(heard), ["length_of"])),
  "tool forbidden": asks("call the tool", { tools: [DEPTH], choice: "none" }, (heard) =>
    assert.deepEqual([heard.text, names(heard)], ["echo: call the tool", []])),
  schema: schema("whole"),
  "schema streamed": schema("stream"),
  parse: async (client, model) => assert.deepEqual(await client.parse(model, "measure the Rhine"), GAUGE),
  image: async (client, model) => {
    const heard = await client.whole(model, { turns: [{ user: "how many images", images: 2 }] });
    assert.equal(heard.text, "I see 2 images");
  },
  reasoning: reasoning("whole"),
  "reasoning streamed": reasoning("stream"),
  "reasoning tokens": asks("the river", { effort: "high" }, (heard) => assert.equal(heard.reasoningTokens, 3)),
  "reasoned call": reasonedCall("high", false),
  "moved call": reasonedCall(undefined, true),
  "moved reasoning": movedReasoning,
  stop: asks("one two STOP three", { stop: "STOP" }, (heard) =>
    assert.deepEqual([heard.text.trimEnd(), heard.end], ["echo: one two", "stop"])),
  limit: limit("whole"),
  "limit streamed": limit("stream"),
  refusal: asks("refuse this", {}, (heard) => assert.equal(heard.end, "refused")),
  "refusal text": asks("refuse this", {}, (heard) => assert.equal(heard.text, "I cannot help with that.")),
  usage,
  "unknown model": unknownModel,
  "wrong key": wrongKey,
  "bad request": badRequest("whole"),
  "bad request streamed": badRequest("stream"),
  cancel,
  "tool loop": async (client, model) => assert.match(await client.loop(model, "please call the tool"), /21 m/),
  models: async (client, model) => assert.ok((await client.models()).includes(model)),
};
