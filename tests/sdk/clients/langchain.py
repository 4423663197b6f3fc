"""LangChain's chat models as second clients: owns how they are asked and how they are read.
They sit on the official SDKs (and on Google's), and put messages together in their own way."""

from contextlib import closing

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_google_genai.chat_models import ChatGoogleGenerativeAIError
from langchain_openai import ChatOpenAI

from .base import PNG, Ask, Call, Client, Gauge, Reply, Results, Tool, User, without_none

ENDS = {
    "stop": "stop", "length": "length", "tool_calls": "tools", "completed": "stop",
    "max_output_tokens": "length", "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length",
    "tool_use": "tools", "refusal": "refused", "content_filter": "refused", "STOP": "stop",
    "MAX_TOKENS": "length", "SAFETY": "refused", "PROHIBITED_CONTENT": "refused",
}  # fmt: skip


class LangChain(Client):
    """What all of them share."""

    def model(self, model: str, ask: Ask):
        raise NotImplementedError

    def bound(self, model: str, ask: Ask):
        chat = self.model(model, ask)
        if not ask.tools:
            return chat
        single = {} if ask.parallel else self.single
        return chat.bind_tools([tool(each) for each in ask.tools], tool_choice=self.choice(ask), **single)

    def choice(self, ask):
        return ask.choice

    single = {"parallel_tool_calls": False}

    def whole(self, model, ask):
        return read(self.bound(model, ask).invoke(messages(ask)))

    async def whole_async(self, model, ask):
        return read(await self.bound(model, ask).ainvoke(messages(ask)))

    def stream(self, model, ask):
        return joined(list(self.bound(model, ask).stream(messages(ask))))

    async def stream_async(self, model, ask):
        return joined([chunk async for chunk in self.bound(model, ask).astream(messages(ask))])

    def parse(self, model, prompt):
        return self.model(model, Ask([])).with_structured_output(Gauge, method="json_schema").invoke(prompt)

    def cancel(self, model, prompt):
        with closing(self.model(model, Ask([])).stream(prompt)) as stream:
            next(chunk for chunk in stream if chunk.text)
            yield
        yield


class LangChainOpenAI(LangChain):
    name = "langchain-openai"
    responses = False
    not_found = openai.NotFoundError
    unauthorized = openai.AuthenticationError
    bad_request = openai.BadRequestError

    def model(self, model, ask):
        form = ask.schema and {"name": "gauge", "schema": ask.schema, "strict": True}
        fields = without_none(
            reasoning_effort=None if self.responses else ask.effort,
            reasoning=ask.effort and {"effort": ask.effort, "summary": "auto"} if self.responses else None,
            stop=ask.stop,
            max_tokens=ask.limit,
            stream_usage=True,
        )
        chat = ChatOpenAI(
            model=model, base_url=f"{self.url}/v1", api_key=self.key, max_retries=0, timeout=60,
            use_responses_api=self.responses, **fields,
        )  # fmt: skip
        return chat.bind(response_format={"type": "json_schema", "json_schema": form}) if form else chat


class LangChainResponses(LangChainOpenAI):
    name = "langchain-responses"
    responses = True


class LangChainAnthropic(LangChain):
    name = "langchain-anthropic"
    not_found = anthropic.NotFoundError
    unauthorized = anthropic.AuthenticationError
    bad_request = anthropic.BadRequestError

    def choice(self, ask):
        """Words other than `any` and `auto` it takes for a tool's name."""
        return {"type": "none"} if ask.choice == "none" else ask.choice

    def model(self, model, ask):
        fields = without_none(
            # The older form, with a budget; the official SDK asks in the newer one.
            thinking=ask.effort and {"type": "enabled", "budget_tokens": 2048},
            stop=ask.stop and [ask.stop],
            output_config=ask.schema and {"format": {"type": "json_schema", "schema": ask.schema}},
        )
        return ChatAnthropic(
            model=model, base_url=self.url, api_key=self.key, max_retries=0, timeout=60,
            max_tokens=ask.limit or 4000, **fields,
        )  # fmt: skip


class LangChainGoogle(LangChain):
    name = "langchain-google"
    not_found = unauthorized = bad_request = ChatGoogleGenerativeAIError
    single = {}

    def model(self, model, ask):
        fields = without_none(
            thinking_level=ask.effort,
            include_thoughts=ask.effort and True,
            stop=ask.stop and [ask.stop],
            max_output_tokens=ask.limit,
            response_mime_type=ask.schema and "application/json",
            response_schema=ask.schema,
        )
        return ChatGoogleGenerativeAI(
            model=model, base_url=self.url, google_api_key=self.key, max_retries=1, timeout=60, **fields
        )


def tool(tool: Tool) -> dict:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {"type": "function", "function": function}


def messages(ask: Ask) -> list:
    all = [SystemMessage(ask.system)] if ask.system else []
    for turn in ask.turns:
        match turn:
            case User(text, images):
                image = {"type": "image", "base64": PNG, "mime_type": "image/png"}
                all.append(HumanMessage([{"type": "text", "text": text}] + [image] * images if images else text))
            case Reply():
                all.append(turn.native)
            case Results(of):
                all += [ToolMessage(text, tool_call_id=call.id, name=call.name) for call, text in of]
    return all


def joined(chunks: list) -> Reply:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    return read(whole, [chunk.text for chunk in chunks if chunk.text])


def read(message, deltas=()) -> Reply:
    calls = [Call(call["id"], call["name"], call["args"]) for call in message.tool_calls]
    usage = message.usage_metadata
    blocks = [block for block in message.content_blocks if block["type"] == "reasoning"]
    parts = [part for part in message.content if isinstance(part, dict)]
    refusal = "".join(part.get("refusal", "") for part in parts) or message.additional_kwargs.get("refusal")
    return Reply(
        text=message.text or refusal or "",
        calls=calls,
        end="refused" if refusal else end(message.response_metadata, calls),
        input=usage["input_tokens"],
        output=usage["output_tokens"],
        native=message,
        reasoning="".join(block.get("reasoning", "") for block in blocks),
        reasoning_tokens=usage.get("output_token_details", {}).get("reasoning", 0),
        deltas=list(deltas),
    )


def end(about: dict, calls: list) -> str:
    cut = (about.get("incomplete_details") or {}).get("reason")
    word = about.get("finish_reason") or about.get("stop_reason") or cut or about["status"]
    return "tools" if calls and ENDS[word] == "stop" else ENDS[word]
