"""The official Google Gen AI SDK: owns how it is asked and how it is read."""

import base64

from google import genai
from google.genai import errors, types

from .base import PNG, Ask, Call, Client, Gauge, Reply, Results, Tool, User, depth_of, without_none

ENDS = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "refused", "PROHIBITED_CONTENT": "refused"}


class GoogleGenAI(Client):
    name = "google-genai"
    # The SDK has one class for all of 4xx; the matrix asks for its `code` too.
    not_found = unauthorized = bad_request = errors.ClientError

    def client(self) -> genai.Client:
        options = types.HttpOptions(base_url=self.url, timeout=60_000)
        return genai.Client(api_key=self.key, http_options=options)

    def whole(self, model, ask):
        with self.client() as client:
            return read([client.models.generate_content(**request(model, ask))])

    async def whole_async(self, model, ask):
        async with self.client().aio as client:
            return read([await client.models.generate_content(**request(model, ask))])

    def stream(self, model, ask):
        with self.client() as client:
            return read(list(client.models.generate_content_stream(**request(model, ask))))

    async def stream_async(self, model, ask):
        async with self.client().aio as client:
            stream = await client.models.generate_content_stream(**request(model, ask))
            return read([chunk async for chunk in stream])

    def parse(self, model, prompt):
        config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Gauge)
        with self.client() as client:
            return client.models.generate_content(model=model, contents=prompt, config=config).parsed

    def models(self):
        with self.client() as client:
            return [model.name.removeprefix("models/") for model in client.models.list()]

    def loop(self, model, prompt):
        config = types.GenerateContentConfig(tools=[depth_of])
        with self.client() as client:
            return client.chats.create(model=model, config=config).send_message(prompt).text

    def cancel(self, model, prompt):
        with self.client() as client:
            stream = client.models.generate_content_stream(model=model, contents=prompt)
            next(chunk for chunk in stream if chunk.text)
            yield
            stream.close()
            yield


def request(model: str, ask: Ask) -> dict:
    thoughts = {"include_thoughts": True, "thinking_level": (ask.effort or "").upper()}
    config = without_none(
        system_instruction=ask.system,
        tools=[types.Tool(function_declarations=[tool(each) for each in ask.tools])] if ask.tools else None,
        tool_config=choice(ask),
        automatic_function_calling={"disable": True} if ask.tools else None,
        response_mime_type=ask.schema and "application/json",
        response_json_schema=ask.schema,
        thinking_config=ask.effort and thoughts,
        stop_sequences=ask.stop and [ask.stop],
        max_output_tokens=ask.limit,
    )
    return {"model": model, "contents": contents(ask), "config": types.GenerateContentConfig(**config)}


def choice(ask: Ask) -> dict | None:
    if ask.choice == "none":
        return {"function_calling_config": {"mode": "NONE"}}
    if ask.choice:
        return {"function_calling_config": {"mode": "ANY", "allowed_function_names": [ask.choice]}}
    return None


def contents(ask: Ask) -> list:
    all = []
    for turn in ask.turns:
        match turn:
            case User(text, images):
                image = types.Part.from_bytes(data=base64.b64decode(PNG), mime_type="image/png")
                all.append(types.Content(role="user", parts=[types.Part.from_text(text=text)] + [image] * images))
            case Reply():
                all.append(turn.native)
            case Results(of):
                all.append(types.Content(role="user", parts=[result(call, text) for call, text in of]))
    return all


def result(call: Call, text: str) -> types.Part:
    response = types.FunctionResponse(id=call.id, name=call.name, response={"result": text})
    return types.Part(function_response=response)


def tool(tool: Tool) -> types.FunctionDeclaration:
    return types.FunctionDeclaration(
        name=tool.name, description=tool.description, parameters_json_schema=tool.schema
    )


def read(chunks: list) -> Reply:
    """The SDK has no helper that puts a stream together: its parts are one after another."""
    parts = [part for chunk in chunks for part in chunk.parts or []]
    calls = [Call(call.id, call.name, call.args) for chunk in chunks for call in chunk.function_calls or []]
    said = [part.text for part in parts if part.text and not part.thought]
    usage, reason = chunks[-1].usage_metadata, chunks[-1].candidates[0].finish_reason
    thoughts = usage.thoughts_token_count or 0
    return Reply(
        text="".join(said),
        calls=calls,
        end="tools" if calls and reason == "STOP" else ENDS[reason],
        input=usage.prompt_token_count,
        output=(usage.candidates_token_count or 0) + thoughts,
        native=types.Content(role="model", parts=parts),
        reasoning="".join(part.text for part in parts if part.text and part.thought),
        reasoning_tokens=thoughts,
        deltas=said,
    )
