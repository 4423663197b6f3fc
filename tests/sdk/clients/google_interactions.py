"""The official Google Gen AI SDK at Interactions: owns how it is asked and how it is read."""

import json

from google.genai import _interactions_errors as errors

from .base import PNG, Call, Gauge, Reply, Results, User, without_none
from .google_genai import GoogleGenAI

ENDS = {"completed": "stop", "requires_action": "tools", "incomplete": "length", "failed": "refused"}


class GoogleInteractions(GoogleGenAI):
    name = "google-interactions"
    not_found = errors.NotFoundError
    unauthorized = errors.AuthenticationError
    bad_request = errors.BadRequestError

    def whole(self, model, ask):
        with self.client() as client:
            return read(client.interactions.create(**request(model, ask)))

    async def whole_async(self, model, ask):
        async with self.client().aio as client:
            return read(await client.interactions.create(**request(model, ask)))

    def stream(self, model, ask):
        with self.client() as client:
            return gathered(list(client.interactions.create(stream=True, **request(model, ask))))

    async def stream_async(self, model, ask):
        async with self.client().aio as client:
            stream = await client.interactions.create(stream=True, **request(model, ask))
            return gathered([event async for event in stream])

    def parse(self, model, prompt):
        form = {"type": "text", "mime_type": "application/json", "schema": Gauge.model_json_schema()}
        with self.client() as client:
            answer = client.interactions.create(model=model, input=prompt, response_format=form)
        return Gauge.model_validate_json(answer.output_text)

    def loop(self, model, prompt):
        raise NotImplementedError

    def cancel(self, model, prompt):
        with self.client() as client:
            stream = client.interactions.create(model=model, input=prompt, stream=True)
            events = iter(stream)
            next(event for event in events if event.event_type == "step.delta")
            yield
            stream.close()
            yield


def request(model, ask) -> dict:
    config = without_none(
        max_output_tokens=ask.limit,
        stop_sequences=ask.stop and [ask.stop],
        thinking_level=ask.effort,
        thinking_summaries=ask.effort and "auto",
        tool_choice=choice(ask),
    )
    form = {"type": "text", "mime_type": "application/json", "schema": ask.schema}
    return without_none(
        model=model,
        input=steps(ask),
        system_instruction=ask.system,
        tools=[tool(each) for each in ask.tools] or None,
        generation_config=config or None,
        response_format=form if ask.schema else None,
        store=False,
    )


def choice(ask):
    if ask.choice == "none":
        return "none"
    return {"allowed_tools": {"mode": "any", "tools": [ask.choice]}} if ask.choice else None


def tool(tool) -> dict:
    return {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.schema}


def steps(ask) -> list:
    all = []
    for turn in ask.turns:
        match turn:
            case User(text, images):
                image = {"type": "image", "data": PNG, "mime_type": "image/png"}
                all.append({"type": "user_input", "content": [{"type": "text", "text": text}] + [image] * images})
            case Reply():
                all += turn.native
            case Results(of):
                all += [result(call, text) for call, text in of]
    return all


def result(call: Call, text: str) -> dict:
    return {"type": "function_result", "call_id": call.id, "name": call.name, "result": text}


def read(interaction) -> Reply:
    return reply(interaction, interaction.steps or [], [])


def reply(interaction, steps: list, deltas: list[str]) -> Reply:
    of = lambda kind: [step for step in steps if step_type(step) == kind]
    usage = interaction.usage
    said = [content for step in of("model_output") for content in field(step, "content") or []]
    thoughts = [content for step in of("thought") for content in field(step, "summary") or []]
    calls = [Call(*(field(step, name) for name in ("id", "name", "arguments"))) for step in of("function_call")]
    return Reply(
        text="".join(field(content, "text") for content in said),
        calls=calls,
        end=ENDS[interaction.status],
        input=usage.total_input_tokens,
        output=(usage.total_output_tokens or 0) + (usage.total_thought_tokens or 0),
        native=list(steps),
        reasoning="".join(field(content, "text") for content in thoughts),
        reasoning_tokens=usage.total_thought_tokens or 0,
        deltas=deltas,
    )


def field(value, name: str):
    return value.get(name) if isinstance(value, dict) else getattr(value, name)


def step_type(step) -> str:
    return field(step, "type")


def gathered(events: list) -> Reply:
    """The SDK has no helper that puts a stream together: steps begin, and deltas add to them."""
    steps, deltas, written = {}, [], {}
    for event in events:
        if event.event_type == "step.start":
            steps[event.index] = event.step.model_dump(exclude_none=True)
        elif event.event_type == "step.delta":
            add(steps[event.index], event.delta, deltas, written, event.index)
    for index, arguments in written.items():
        steps[index]["arguments"] = json.loads(arguments)
    return reply(events[-1].interaction, [steps[index] for index in sorted(steps)], deltas)


def add(step: dict, delta, deltas: list[str], written: dict[int, str], index: int):
    match delta.type:
        case "text":
            deltas.append(delta.text)
            step.setdefault("content", []).append({"type": "text", "text": delta.text})
        case "thought_summary":
            step.setdefault("summary", []).append({"type": "text", "text": delta.content.text})
        case "thought_signature":
            step["signature"] = delta.signature
        case "arguments_delta":
            written[index] = written.get(index, "") + delta.arguments
