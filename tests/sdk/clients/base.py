"""What a test asks of any client, and what it hears: owns the neutral forms of a request
and of an answer, and the four ways to ask. Knows no SDK."""

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

URL = os.environ.get("SPILLWAY_URL", "").rstrip("/")
KEY = os.environ.get("SPILLWAY_KEY", "")
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Gauge(BaseModel):
    """The form that structured answers are asked in."""

    river: str
    metres: int


SCHEMA = {
    "type": "object",
    "properties": {"river": {"type": "string"}, "metres": {"type": "integer"}},
    "required": ["river", "metres"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Tool:
    name: str
    description: str
    schema: dict


def _tool(name: str) -> Tool:
    schema = {
        "type": "object",
        "properties": {"river": {"type": "string"}},
        "required": ["river"],
        "additionalProperties": False,
    }
    return Tool(name, f"The {name.split('_')[0]} of a river in metres", schema)


DEPTH, LENGTH = _tool("depth_of"), _tool("length_of")


@dataclass(frozen=True)
class User:
    text: str
    images: int = 0


@dataclass(frozen=True)
class Call:
    id: str | None
    name: str
    args: dict


@dataclass(frozen=True)
class Results:
    """What the tools said, in the order of the calls."""

    of: list[tuple[Call, str]]


@dataclass
class Reply:
    """An answer; `native` is what the SDK wants back in the next turn."""

    text: str
    calls: list[Call]
    end: str
    input: int
    output: int
    native: Any
    reasoning: str = ""
    reasoning_tokens: int = 0
    deltas: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ask:
    turns: list[User | Reply | Results]
    system: str | None = None
    tools: tuple[Tool, ...] = ()
    choice: str | None = None
    """`none`, or the name of the tool that has to be called."""
    parallel: bool = True
    schema: dict | None = None
    effort: str | None = None
    stop: str | None = None
    limit: int | None = None


def depth_of(river: str) -> str:
    """The depth of a river in metres."""
    assert river == "sample"
    return "21 m"


LOOP = asyncio.new_event_loop()
"""One for all: LangChain keeps connections across its models."""


class Client:
    """One SDK in one dialect. The official ones are told an address and a key, no more."""

    name: str
    not_found: type[Exception]
    unauthorized: type[Exception]
    bad_request: type[Exception]

    def __init__(self, url: str = URL, key: str = KEY):
        self.url, self.key = url, key

    def ask(self, mode: str, model: str, ask: Ask) -> Reply:
        if mode == "whole":
            return self.whole(model, ask)
        if mode == "stream":
            return self.stream(model, ask)
        ways = {"async": self.whole_async, "async-stream": self.stream_async}
        return LOOP.run_until_complete(ways[mode](model, ask))

    def whole(self, model: str, ask: Ask) -> Reply:
        raise NotImplementedError

    def stream(self, model: str, ask: Ask) -> Reply:
        raise NotImplementedError

    async def whole_async(self, model: str, ask: Ask) -> Reply:
        raise NotImplementedError

    async def stream_async(self, model: str, ask: Ask) -> Reply:
        raise NotImplementedError

    def parse(self, model: str, prompt: str) -> Gauge:
        """Asks for a `Gauge` by the SDK's own helper."""
        raise NotImplementedError

    def models(self) -> list[str]:
        """Which models there are, where the SDK can ask."""
        raise NotImplementedError

    def loop(self, model: str, prompt: str) -> str:
        """The answer after the SDK's own tool loop, where it has one; the tool is `depth_of` below."""
        raise NotImplementedError

    def cancel(self, model: str, prompt: str):
        """Asks for a stream, yields once it has begun, drops it as the SDK has it, yields again."""
        raise NotImplementedError


def without_none(**fields) -> dict:
    return {name: value for name, value in fields.items() if value is not None}
