// Vercel's AI SDK over its providers for OpenAI (both dialects), Anthropic and Google: owns
// how it is asked and how it is read.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogle } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, Output, generateText, isStepCount, jsonSchema, streamText, tool } from "ai";

import { Gauge, KEY, PNG, River, URL, depthOf, given } from "./forms.mjs";

const ENDS = { stop: "stop", length: "length", "tool-calls": "tools", "content-filter": "refused" };

class AI {
  errors = { 400: APICallError, 401: APICallError, 404: APICallError };

  constructor(key = KEY) {
    this.model = this.provider(key);
  }

  options() {
    return {};
  }

  async whole(model, ask) {
    return await read(await generateText(this.request(model, ask)));
  }

  async stream(model, ask) {
    const deltas = [];
    let failure;
    const onError = ({ error }) => (failure = error);
    const result = streamText({ ...this.request(model, ask), onError });
    for await (const delta of result.textStream) deltas.push(delta);
    if (failure) throw failure;
    return { ...(await read(result)), deltas };
  }

  async parse(model, prompt) {
    const output = Output.object({ schema: Gauge });
    return (await generateText({ model: this.model(model), prompt, output, maxRetries: 0 })).output;
  }

  /** The SDK has none of its own. */
  async models() {
    throw new Error("not there");
  }

  async loop(model, prompt) {
    const tools = { depth_of: tool({ inputSchema: River, execute: depthOf }) };
    const options = { providerOptions: this.options({}), maxRetries: 0, stopWhen: isStepCount(3) };
    return (await generateText({ model: this.model(model), prompt, tools, ...options })).text;
  }

  async cancel(model, prompt, begun) {
    const abort = new AbortController();
    const result = streamText({ model: this.model(model), prompt, abortSignal: abort.signal, maxRetries: 0 });
    for await (const _ of result.textStream) {
      if (!abort.signal.aborted) begun();
      abort.abort();
    }
  }

  request(model, ask) {
    return given({
      model: this.model(model),
      instructions: ask.system,
      messages: messages(ask),
      tools: ask.tools && Object.fromEntries(ask.tools.map(declared)),
      toolChoice: ask.choice && (ask.choice === "none" ? "none" : { type: "tool", toolName: ask.choice }),
      output: ask.schema && Output.object({ schema: jsonSchema(ask.schema) }),
      reasoning: ask.effort,
      stopSequences: ask.stop && [ask.stop],
      maxOutputTokens: ask.limit,
      maxRetries: 0,
      providerOptions: this.options(ask),
    });
  }
}

export class AIOpenAIChat extends AI {
  static id = "ai openai-chat";
  provider(apiKey) {
    return createOpenAI({ baseURL: `${URL}/v1`, apiKey }).chat;
  }
  options(ask) {
    return { openai: given({ parallelToolCalls: ask.parallel, forceReasoning: ask.effort && true }) };
  }
}

export class AIOpenAIResponses extends AI {
  static id = "ai openai-responses";
  provider(apiKey) {
    return createOpenAI({ baseURL: `${URL}/v1`, apiKey }).responses;
  }
  store = undefined;
  options(ask) {
    const reasoning = ask.effort && { forceReasoning: true, reasoningSummary: "auto" };
    return { openai: { ...given({ store: this.store, parallelToolCalls: ask.parallel }), ...reasoning } };
  }
}

/** Otherwise the SDK refers to earlier answers by their ids, which only OpenAI keeps. */
export class AIOpenAIResponsesUnstored extends AIOpenAIResponses {
  static id = "ai openai-responses store=false";
  store = false;
}

export class AIAnthropic extends AI {
  static id = "ai anthropic";
  provider(apiKey) {
    return createAnthropic({ baseURL: `${URL}/v1`, apiKey });
  }
  options(ask) {
    return { anthropic: given({ disableParallelToolUse: ask.parallel === false ? true : undefined }) };
  }
}

export class AIGoogle extends AI {
  static id = "ai google";
  provider(apiKey) {
    return createGoogle({ baseURL: `${URL}/v1beta`, apiKey });
  }
  options(ask) {
    return { google: given({ thinkingConfig: ask.effort && { includeThoughts: true } }) };
  }
}

function declared({ name, description, schema }) {
  return [name, tool({ description, inputSchema: jsonSchema(schema) })];
}

function messages(ask) {
  return ask.turns.flatMap((turn) => {
    if (turn.native) return turn.native;
    if (turn.results) return [{ role: "tool", content: turn.results.map(result) }];
    const image = { type: "file", mediaType: "image/png", data: PNG };
    const parts = [{ type: "text", text: turn.user }, ...Array(turn.images ?? 0).fill(image)];
    return [{ role: "user", content: turn.images ? parts : turn.user }];
  });
}

function result([call, value]) {
  return { type: "tool-result", toolCallId: call.id, toolName: call.name, output: { type: "text", value } };
}

/** Reads a whole result, or a stream's, whose members are promises. */
async function read(result) {
  const usage = await result.usage;
  return {
    text: await result.text,
    calls: (await result.toolCalls).map((call) => ({ id: call.toolCallId, name: call.toolName, args: call.input })),
    end: ENDS[await result.finishReason],
    input: usage.inputTokens,
    output: usage.outputTokens,
    reasoning: (await result.reasoningText) ?? "",
    reasoningTokens: usage.outputTokenDetails?.reasoningTokens,
    native: (await result.response).messages,
  };
}
