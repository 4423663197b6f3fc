// The official OpenAI SDK, Responses: owns how it is asked and how it is read.

import OpenAI from "openai";
import { ResponsesToolRunner, runnerFunction } from "openai/helpers/responses-tool-runner";
import { zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";

import { Gauge, KEY, PNG, River, URL, depthOf, given } from "./forms.mjs";

const DELTA = "response.output_text.delta";
const CUTS = { max_output_tokens: "length", content_filter: "refused" };

export class OpenAIResponses {
  static id = "node openai-responses";
  errors = { 400: OpenAI.BadRequestError, 401: OpenAI.AuthenticationError, 404: OpenAI.NotFoundError };

  constructor(key = KEY) {
    this.client = new OpenAI({ baseURL: `${URL}/v1`, apiKey: key, maxRetries: 0 });
    this.responses = this.client.responses;
  }

  async whole(model, ask) {
    return read(await this.responses.create(request(model, ask)));
  }

  async stream(model, ask) {
    const deltas = [];
    const stream = this.responses.stream(request(model, ask));
    stream.on(DELTA, ({ delta }) => deltas.push(delta));
    return { ...read(await stream.finalResponse()), deltas };
  }

  async parse(model, prompt) {
    const text = { format: zodTextFormat(Gauge, "gauge") };
    return (await this.responses.parse({ model, input: prompt, text })).output_parsed;
  }

  async models() {
    return (await this.client.models.list()).data.map((model) => model.id);
  }

  async loop(model, prompt) {
    const tool = zodResponsesFunction({ name: "depth_of", parameters: River, function: depthOf });
    const runner = new ResponsesToolRunner({ functions: [runnerFunction(tool)] });
    return (await runner.run(this.client, { model, input: prompt })).output_text;
  }

  async cancel(model, prompt, begun) {
    for await (const event of await this.responses.create({ model, input: prompt, stream: true })) {
      if (event.type !== DELTA) continue;
      begun();
      break;
    }
  }
}

function request(model, ask) {
  const named = { type: "function", name: ask.choice };
  const format = ask.schema && { type: "json_schema", name: "gauge", schema: ask.schema, strict: true };
  return given({
    model,
    input: items(ask),
    instructions: ask.system,
    tools: ask.tools?.map(tool),
    tool_choice: ask.choice && (ask.choice === "none" ? "none" : named),
    parallel_tool_calls: ask.parallel,
    text: format && { format },
    reasoning: ask.effort && { effort: ask.effort, summary: "auto" },
    stop: ask.stop,
    max_output_tokens: ask.limit,
  });
}

function items(ask) {
  return ask.turns.flatMap((turn) => {
    if (turn.native) return turn.native;
    if (turn.results) {
      return turn.results.map(([call, output]) => ({ type: "function_call_output", call_id: call.id, output }));
    }
    const image = { type: "input_image", image_url: `data:image/png;base64,${PNG}`, detail: "auto" };
    const parts = [{ type: "input_text", text: turn.user }, ...Array(turn.images ?? 0).fill(image)];
    return [{ role: "user", content: turn.images ? parts : turn.user }];
  });
}

function tool({ name, description, schema }) {
  return { type: "function", name, description, parameters: schema, strict: true };
}

function read(answer) {
  const of = (type) => answer.output.filter((item) => item.type === type);
  const parts = of("message").flatMap((item) => item.content);
  const refusal = parts.map((part) => part.refusal ?? "").join("");
  const calls = of("function_call").map((item) => ({
    id: item.call_id,
    name: item.name,
    args: JSON.parse(item.arguments),
  }));
  const ended = answer.status === "incomplete" ? CUTS[answer.incomplete_details.reason] : "stop";
  return {
    text: answer.output_text || refusal,
    calls,
    end: refusal ? "refused" : calls.length && ended === "stop" ? "tools" : ended,
    input: answer.usage.input_tokens,
    output: answer.usage.output_tokens,
    reasoning: of("reasoning")
      .flatMap((item) => item.summary.map((part) => part.text))
      .join(""),
    reasoningTokens: answer.usage.output_tokens_details.reasoning_tokens,
    native: answer.output,
  };
}
