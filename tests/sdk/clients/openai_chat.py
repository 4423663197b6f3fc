"""The official OpenAI SDK, Chat Completions: owns how it is asked and how it is read."""

import json

import openai

from .base import PNG, Ask, Call, Client, Gauge, Reply, Results, Tool, User, without_none

ENDS = {"stop": "stop", "length": "length", "tool_calls": "tools", "content_filter": "refused"}


class OpenAIChat(Client):
    name = "openai-chat"
    not_found = openai.NotFoundError
    unauthorized = openai.AuthenticationError
    bad_request = openai.BadRequestError

    def options(self) -> dict:
        return {"base_url": f"{self.url}/v1", "api_key": self.key, "max_retries": 0, "timeout": 60}

    def whole(self, model, ask):
        with openai.OpenAI(**self.options()) as client:
            return read(client.chat.completions.create(**request(model, ask)))

    async def whole_async(self, model, ask):
        async with openai.AsyncOpenAI(**self.options()) as client:
            return read(await client.chat.completions.create(**request(model, ask)))

    def stream(self, model, ask):
        deltas = []
        with openai.OpenAI(**self.options()) as client:
            with client.chat.completions.stream(**streamed(model, ask)) as stream:
                try:
                    deltas += [event.delta for event in stream if event.type == "content.delta"]
                    return read(stream.get_final_completion(), deltas)
                except openai.LengthFinishReasonError as cut:
                    return read(cut.completion, deltas)

    async def stream_async(self, model, ask):
        deltas = []
        async with openai.AsyncOpenAI(**self.options()) as client:
            async with client.chat.completions.stream(**streamed(model, ask)) as stream:
                deltas += [event.delta async for event in stream if event.type == "content.delta"]
                return read(await stream.get_final_completion(), deltas)

    def parse(self, model, prompt):
        messages = [{"role": "user", "content": prompt}]
        with openai.OpenAI(**self.options()) as client:
            answer = client.chat.completions.parse(model=model, messages=messages, response_format=Gauge)
            return answer.choices[0].message.parsed

    def models(self):
        with openai.OpenAI(**self.options()) as client:
            return [model.id for model in client.models.list()]

    def cancel(self, model, prompt):
        with openai.OpenAI(**self.options()) as client:
            messages = [{"role": "user", "content": prompt}]
            with client.chat.completions.create(model=model, messages=messages, stream=True) as stream:
                next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
                yield
            yield


def request(model: str, ask: Ask) -> dict:
    named = {"type": "function", "function": {"name": ask.choice}}
    form = ask.schema and {"name": "gauge", "schema": ask.schema, "strict": True}
    return without_none(
        model=model,
        messages=messages(ask),
        tools=[tool(each) for each in ask.tools] or None,
        tool_choice=ask.choice if ask.choice in (None, "none") else named,
        parallel_tool_calls=None if ask.parallel else False,
        response_format=form and {"type": "json_schema", "json_schema": form},
        reasoning_effort=ask.effort,
        stop=ask.stop,
        max_completion_tokens=ask.limit,
    )


def streamed(model: str, ask: Ask) -> dict:
    return request(model, ask) | {"stream_options": {"include_usage": True}}


def messages(ask: Ask) -> list:
    all = [{"role": "system", "content": ask.system}] if ask.system else []
    for turn in ask.turns:
        match turn:
            case User(text, 0):
                all.append({"role": "user", "content": text})
            case User(text, images):
                image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
                all.append({"role": "user", "content": [{"type": "text", "text": text}] + [image] * images})
            case Reply():
                all.append(turn.native)
            case Results(of):
                all += [{"role": "tool", "tool_call_id": call.id, "content": text} for call, text in of]
    return all


def tool(tool: Tool) -> dict:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema, "strict": True}
    return {"type": "function", "function": function}


def read(answer, deltas=()) -> Reply:
    choice, usage = answer.choices[0], answer.usage
    message = choice.message
    calls = message.tool_calls or []
    return Reply(
        text=message.content or message.refusal or "",
        calls=[Call(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls],
        end="refused" if message.refusal else ENDS[choice.finish_reason],
        input=usage.prompt_tokens,
        output=usage.completion_tokens,
        native=message,
        # Chat has no field for it; this is the one that most hosts use.
        reasoning=(message.model_extra or {}).get("reasoning_content") or "",
        reasoning_tokens=usage.completion_tokens_details.reasoning_tokens,
        deltas=list(deltas),
    )
