"""The official Anthropic SDK: owns how it is asked and how it is read."""

import anthropic

from .base import PNG, Ask, Call, Client, Gauge, Reply, Results, Tool, User, depth_of, without_none

ENDS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tools",
    "refusal": "refused",
}


class Anthropic(Client):
    name = "anthropic"
    not_found = anthropic.NotFoundError
    unauthorized = anthropic.AuthenticationError
    bad_request = anthropic.BadRequestError

    def options(self) -> dict:
        return {"base_url": self.url, "api_key": self.key, "max_retries": 0, "timeout": 60}

    def whole(self, model, ask):
        with anthropic.Anthropic(**self.options()) as client:
            return read(client.messages.create(**request(model, ask)))

    async def whole_async(self, model, ask):
        async with anthropic.AsyncAnthropic(**self.options()) as client:
            return read(await client.messages.create(**request(model, ask)))

    def stream(self, model, ask):
        with anthropic.Anthropic(**self.options()) as client:
            with client.messages.stream(**request(model, ask)) as stream:
                deltas = list(stream.text_stream)
                return read(stream.get_final_message(), deltas)

    async def stream_async(self, model, ask):
        async with anthropic.AsyncAnthropic(**self.options()) as client:
            async with client.messages.stream(**request(model, ask)) as stream:
                deltas = [text async for text in stream.text_stream]
                return read(await stream.get_final_message(), deltas)

    def parse(self, model, prompt):
        messages = [{"role": "user", "content": prompt}]
        with anthropic.Anthropic(**self.options()) as client:
            answer = client.messages.parse(model=model, max_tokens=999, messages=messages, output_format=Gauge)
            return answer.parsed_output

    def models(self):
        with anthropic.Anthropic(**self.options()) as client:
            return [model.id for model in client.models.list()]

    def loop(self, model, prompt):
        messages = [{"role": "user", "content": prompt}]
        with anthropic.Anthropic(**self.options()) as client:
            run = client.beta.messages.tool_runner
            tools = [anthropic.beta_tool(depth_of)]
            return run(model=model, max_tokens=999, messages=messages, tools=tools).until_done().content[0].text

    def cancel(self, model, prompt):
        messages = [{"role": "user", "content": prompt}]
        with anthropic.Anthropic(**self.options()) as client:
            with client.messages.stream(model=model, max_tokens=4000, messages=messages) as stream:
                next(stream.text_stream)
                yield
            yield


def request(model: str, ask: Ask) -> dict:
    form = ask.schema and {"format": {"type": "json_schema", "schema": ask.schema}}
    effort = ask.effort and {"effort": ask.effort}
    return without_none(
        model=model,
        max_tokens=ask.limit or 4000,
        messages=messages(ask),
        system=ask.system,
        tools=[tool(each) for each in ask.tools] or None,
        tool_choice=choice(ask),
        output_config=((form or {}) | (effort or {})) or None,
        thinking=ask.effort and {"type": "adaptive", "display": "summarized"},
        stop_sequences=ask.stop and [ask.stop],
    )


def choice(ask: Ask) -> dict | None:
    single = {} if ask.parallel else {"disable_parallel_tool_use": True}
    if ask.choice == "none":
        return {"type": "none"}
    if ask.choice:
        return {"type": "tool", "name": ask.choice} | single
    return {"type": "auto"} | single if single else None


def messages(ask: Ask) -> list:
    all = []
    for turn in ask.turns:
        match turn:
            case User(text, images):
                source = {"type": "base64", "media_type": "image/png", "data": PNG}
                content = [{"type": "image", "source": source}] * images + [{"type": "text", "text": text}]
                all.append({"role": "user", "content": content if images else text})
            case Reply():
                all.append({"role": "assistant", "content": turn.native})
            case Results(of):
                blocks = [{"type": "tool_result", "tool_use_id": call.id, "content": text} for call, text in of]
                all.append({"role": "user", "content": blocks})
    return all


def tool(tool: Tool) -> dict:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.schema}


def read(answer, deltas=()) -> Reply:
    of = lambda kind: [block for block in answer.content if block.type == kind]
    details = answer.usage.output_tokens_details
    return Reply(
        text="".join(block.text for block in of("text")),
        calls=[Call(block.id, block.name, block.input) for block in of("tool_use")],
        end=ENDS[answer.stop_reason],
        input=answer.usage.input_tokens,
        output=answer.usage.output_tokens,
        native=answer.content,
        reasoning="".join(block.thinking for block in of("thinking")),
        reasoning_tokens=details.thinking_tokens if details else 0,
        deltas=list(deltas),
    )
