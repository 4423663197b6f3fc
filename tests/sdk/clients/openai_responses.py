"""The official OpenAI SDK, Responses: owns how it is asked and how it is read."""

import json

import openai

from .base import PNG, Ask, Call, Client, Gauge, Reply, Results, Tool, User, without_none

DELTA = "response.output_text.delta"


class OpenAIResponses(Client):
    name = "openai-responses"
    not_found = openai.NotFoundError
    unauthorized = openai.AuthenticationError
    bad_request = openai.BadRequestError

    def options(self) -> dict:
        return {"base_url": f"{self.url}/v1", "api_key": self.key, "max_retries": 0, "timeout": 60}

    def whole(self, model, ask):
        with openai.OpenAI(**self.options()) as client:
            return read(client.responses.create(**request(model, ask)))

    async def whole_async(self, model, ask):
        async with openai.AsyncOpenAI(**self.options()) as client:
            return read(await client.responses.create(**request(model, ask)))

    def stream(self, model, ask):
        with openai.OpenAI(**self.options()) as client:
            with client.responses.stream(**request(model, ask)) as stream:
                events = list(stream)
                return read(last(events), [event.delta for event in events if event.type == DELTA])

    async def stream_async(self, model, ask):
        async with openai.AsyncOpenAI(**self.options()) as client:
            async with client.responses.stream(**request(model, ask)) as stream:
                events = [event async for event in stream]
                return read(last(events), [event.delta for event in events if event.type == DELTA])

    def parse(self, model, prompt):
        with openai.OpenAI(**self.options()) as client:
            return client.responses.parse(model=model, input=prompt, text_format=Gauge).output_parsed

    def models(self):
        with openai.OpenAI(**self.options()) as client:
            return [model.id for model in client.models.list()]

    def cancel(self, model, prompt):
        with openai.OpenAI(**self.options()) as client:
            with client.responses.create(model=model, input=prompt, stream=True) as stream:
                next(event for event in stream if event.type == DELTA)
                yield
            yield


def last(events):
    """`get_final_response` knows no other end than `completed`."""
    assert [event.sequence_number for event in events] == sorted(event.sequence_number for event in events)
    assert events[-1].type in ("response.completed", "response.incomplete")
    return events[-1].response


def request(model: str, ask: Ask) -> dict:
    form = ask.schema and {"type": "json_schema", "name": "gauge", "schema": ask.schema, "strict": True}
    fields = without_none(
        model=model,
        input=items(ask),
        instructions=ask.system,
        tools=[tool(each) for each in ask.tools] or None,
        tool_choice=ask.choice if ask.choice in (None, "none") else {"type": "function", "name": ask.choice},
        parallel_tool_calls=None if ask.parallel else False,
        text=form and {"format": form},
        reasoning=ask.effort and {"effort": ask.effort, "summary": "auto"},
        max_output_tokens=ask.limit,
    )
    # The dialect has no stop sequences, and the SDK no argument for them.
    return fields | ({"extra_body": {"stop": ask.stop}} if ask.stop else {})


def items(ask: Ask) -> list:
    all = []
    for turn in ask.turns:
        match turn:
            case User(text, 0):
                all.append({"role": "user", "content": text})
            case User(text, images):
                image = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
                all.append({"role": "user", "content": [{"type": "input_text", "text": text}] + [image] * images})
            case Reply():
                all += turn.native
            case Results(of):
                all += [{"type": "function_call_output", "call_id": call.id, "output": text} for call, text in of]
    return all


def tool(tool: Tool) -> dict:
    fields = {"name": tool.name, "description": tool.description, "parameters": tool.schema, "strict": True}
    return {"type": "function"} | fields


def read(answer, deltas=()) -> Reply:
    of = lambda kind: [item for item in answer.output if item.type == kind]
    calls = [Call(item.call_id, item.name, json.loads(item.arguments)) for item in of("function_call")]
    refusals = [part.refusal for item in of("message") for part in item.content if part.type == "refusal"]
    thoughts = [part.text for item in of("reasoning") for part in item.summary]
    return Reply(
        text=answer.output_text or "".join(refusals),
        calls=calls,
        end="refused" if refusals else end(answer, calls),
        input=answer.usage.input_tokens,
        output=answer.usage.output_tokens,
        native=answer.output,
        reasoning="".join(thoughts),
        reasoning_tokens=answer.usage.output_tokens_details.reasoning_tokens,
        deltas=list(deltas),
    )


def end(answer, calls) -> str:
    if answer.status == "incomplete":
        return {"max_output_tokens": "length", "content_filter": "refused"}[answer.incomplete_details.reason]
    assert answer.status == "completed" and answer.error is None
    return "tools" if calls else "stop"
