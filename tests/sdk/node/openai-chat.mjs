// The official OpenAI SDK, Chat Completions: owns how it is asked and how it is read.

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";

import { DEPTH, Gauge, KEY, PNG, URL, depthOf, given } from "./forms.mjs";

const ENDS = { stop: "stop", length: "length", tool_calls: "tools", content_filter: "refused" };

export class OpenAIChat {
  static id = "node openai-chat";
  errors = { 400: OpenAI.BadRequestError, 401: OpenAI.AuthenticationError, 404: OpenAI.NotFoundError };

  constructor(key = KEY) {
    this.client = new OpenAI({ baseURL: `${URL}/v1`, apiKey: key, maxRetries: 0 });
    this.chat = this.client.chat.completions;
  }

  async whole(model, ask) {
    return read(await this.chat.create(request(model, ask)));
  }

  async stream(model, ask) {
    const deltas = [];
    let reasoning = "";
    const options = { stream_options: { include_usage: true } };
    const stream = this.chat.stream({ ...request(model, ask), ...options });
    stream.on("content.delta", ({ delta }) => deltas.push(delta));
    // The helper joins only the fields that it knows.
    stream.on("chunk", ({ choices }) => (reasoning += choices[0]?.delta.reasoning_content ?? ""));
    return { ...read(await stream.finalChatCompletion()), reasoning, deltas };
  }

  async parse(model, prompt) {
    const messages = [{ role: "user", content: prompt }];
    const answer = await this.chat.parse({ model, messages, response_format: zodResponseFormat(Gauge, "gauge") });
    return answer.choices[0].message.parsed;
  }

  async models() {
    return (await this.client.models.list()).data.map((model) => model.id);
  }

  async loop(model, prompt) {
    const messages = [{ role: "user", content: prompt }];
    const { name, description, schema: parameters } = DEPTH;
    const tool = { type: "function", function: { name, description, parameters, function: depthOf, parse: JSON.parse } };
    return this.chat.runTools({ model, messages, tools: [tool] }).finalContent();
  }

  async cancel(model, prompt, begun) {
    const messages = [{ role: "user", content: prompt }];
    for await (const chunk of await this.chat.create({ model, messages, stream: true })) {
      if (!chunk.choices[0]?.delta.content) continue;
      begun();
      break;
    }
  }
}

function request(model, ask) {
  const named = { type: "function", function: { name: ask.choice } };
  const schema = ask.schema && { name: "gauge", schema: ask.schema, strict: true };
  return given({
    model,
    messages: messages(ask),
    tools: ask.tools?.map(tool),
    tool_choice: ask.choice && (ask.choice === "none" ? "none" : named),
    parallel_tool_calls: ask.parallel,
    response_format: schema && { type: "json_schema", json_schema: schema },
    reasoning_effort: ask.effort,
    stop: ask.stop,
    max_completion_tokens: ask.limit,
  });
}

function messages(ask) {
  const turns = ask.turns.flatMap((turn) => {
    if (turn.native) return [turn.native];
    if (turn.results) return turn.results.map(([call, content]) => ({ role: "tool", tool_call_id: call.id, content }));
    const image = { type: "image_url", image_url: { url: `data:image/png;base64,${PNG}` } };
    const parts = [{ type: "text", text: turn.user }, ...Array(turn.images ?? 0).fill(image)];
    return [{ role: "user", content: turn.images ? parts : turn.user }];
  });
  return ask.system ? [{ role: "system", content: ask.system }, ...turns] : turns;
}

function tool({ name, description, schema }) {
  return { type: "function", function: { name, description, parameters: schema, strict: true } };
}

function read({ choices: [{ message, finish_reason }], usage }) {
  const calls = (message.tool_calls ?? []).map((call) => ({
    id: call.id,
    name: call.function.name,
    args: JSON.parse(call.function.arguments),
  }));
  return {
    text: message.content || message.refusal || "",
    calls,
    end: message.refusal ? "refused" : ENDS[finish_reason],
    input: usage.prompt_tokens,
    output: usage.completion_tokens,
    // Chat has no field for it; this is the one that most hosts use.
    reasoning: message.reasoning_content ?? "",
    reasoningTokens: usage.completion_tokens_details?.reasoning_tokens,
    native: message,
  };
}
