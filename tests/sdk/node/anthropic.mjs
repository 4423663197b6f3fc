// The official Anthropic SDK: owns how it is asked and how it is read.

import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";

import { DEPTH, Gauge, KEY, PNG, River, URL, depthOf, given } from "./forms.mjs";

const ENDS = {
  end_turn: "stop",
  stop_sequence: "stop",
  max_tokens: "length",
  tool_use: "tools",
  refusal: "refused",
};

export class AnthropicMessages {
  static id = "node anthropic";
  errors = { 400: Anthropic.BadRequestError, 401: Anthropic.AuthenticationError, 404: Anthropic.NotFoundError };

  constructor(key = KEY) {
    this.client = new Anthropic({ baseURL: URL, apiKey: key, maxRetries: 0 });
    this.messages = this.client.messages;
  }

  async whole(model, ask) {
    return read(await this.messages.create(request(model, ask)));
  }

  async stream(model, ask) {
    const deltas = [];
    const stream = this.messages.stream(request(model, ask));
    stream.on("text", (delta) => deltas.push(delta));
    return { ...read(await stream.finalMessage()), deltas };
  }

  async parse(model, prompt) {
    const messages = [{ role: "user", content: prompt }];
    const output_config = { format: zodOutputFormat(Gauge) };
    return (await this.messages.parse({ model, max_tokens: 999, messages, output_config })).parsed_output;
  }

  async models() {
    return (await this.client.models.list()).data.map((model) => model.id);
  }

  async loop(model, prompt) {
    const { name, description } = DEPTH;
    const tools = [betaZodTool({ name, description, inputSchema: River, run: depthOf })];
    const messages = [{ role: "user", content: prompt }];
    const answer = await this.client.beta.messages.toolRunner({ model, max_tokens: 999, messages, tools });
    return answer.content[0].text;
  }

  async cancel(model, prompt, begun) {
    const messages = [{ role: "user", content: prompt }];
    for await (const event of await this.messages.create({ model, max_tokens: 4000, messages, stream: true })) {
      if (event.type !== "content_block_delta") continue;
      begun();
      break;
    }
  }
}

function request(model, ask) {
  const output = given({
    format: ask.schema && { type: "json_schema", schema: ask.schema },
    effort: ask.effort,
  });
  return given({
    model,
    max_tokens: ask.limit ?? 4000,
    messages: messages(ask),
    system: ask.system,
    tools: ask.tools?.map(({ name, description, schema }) => ({ name, description, input_schema: schema })),
    tool_choice: choice(ask),
    output_config: Object.keys(output).length ? output : undefined,
    thinking: ask.effort && { type: "adaptive", display: "summarized" },
    stop_sequences: ask.stop && [ask.stop],
  });
}

function choice(ask) {
  if (ask.parallel === false) return { type: "auto", disable_parallel_tool_use: true };
  if (!ask.choice) return undefined;
  return ask.choice === "none" ? { type: "none" } : { type: "tool", name: ask.choice };
}

function messages(ask) {
  return ask.turns.map((turn) => {
    if (turn.native) return { role: "assistant", content: turn.native };
    if (turn.results) {
      const result = ([call, content]) => ({ type: "tool_result", tool_use_id: call.id, content });
      return { role: "user", content: turn.results.map(result) };
    }
    const image = { type: "image", source: { type: "base64", media_type: "image/png", data: PNG } };
    const parts = [...Array(turn.images ?? 0).fill(image), { type: "text", text: turn.user }];
    return { role: "user", content: turn.images ? parts : turn.user };
  });
}

function read(answer) {
  const of = (type) => answer.content.filter((block) => block.type === type);
  return {
    text: of("text").map((block) => block.text).join(""),
    calls: of("tool_use").map(({ id, name, input }) => ({ id, name, args: input })),
    end: ENDS[answer.stop_reason],
    input: answer.usage.input_tokens,
    output: answer.usage.output_tokens,
    reasoning: of("thinking").map((block) => block.thinking).join(""),
    reasoningTokens: answer.usage.output_tokens_details?.thinking_tokens,
    native: answer.content,
  };
}
