"""The cells that cannot be had: owns why, by the names of docs/dialects.md where it is the
dialects' affair. Each is asserted, so that a cell which becomes possible is noticed."""

from dataclasses import dataclass

import pytest

from clients.base import Client
from features import FEATURES

RESPONSES = ("openai-responses", "langchain-responses")
OWN = {"langchain-openai": "chat-1", "langchain-responses": "responses-1"}
"""The provider that speaks the client's own dialect, and so answers for itself."""
GOOGLE = ("google-genai", "google-interactions", "langchain-google")
WITHOUT_ONE_CALL = ("gemini-3-sim", "gemini-3-steps", "claude-bedrock")
WITHOUT_WORDS = ("gemini-3-sim", "gemini-3-steps")
"""Providers that say SAFETY and no word."""


@dataclass(frozen=True)
class Refused:
    """The proxy refuses the request with 400 and names the loss."""

    name: str
    reason: str

    def check(self, client: Client, provider: str, feature: str):
        # Where the feature is a refusal itself, the check finds the wrong one.
        with pytest.raises((client.bad_request, AssertionError)) as error:
            FEATURES[feature](client, provider)
        assert self.name in str(error.value)


@dataclass(frozen=True)
class Absent:
    """There is an answer, without the feature; or the SDK has no such helper."""

    name: str
    reason: str

    def check(self, client: Client, provider: str, feature: str):
        with pytest.raises((AssertionError, NotImplementedError)):
            FEATURES[feature](client, provider)


def loss(client: str, provider: str, feature: str) -> Refused | Absent | None:
    """What is lost in this cell, if anything is."""
    match feature:
        case "models" | "tool loop" if client.startswith("langchain"):
            return Absent("no helper", "LangChain's models have none")
        case "tool loop" if client.startswith("openai") or client == "google-interactions":
            return Absent("no helper", "the SDK for Python has none")
        case "stop" if client == "langchain-responses":
            return Absent("stop", "LangChain leaves it out, for Responses has no such field")
        case "stop" if client in RESPONSES:
            return Refused("stop", "Responses has no such field: it is an unknown one")
        case "stop" if provider == "responses-1":
            return Refused("stop", "Responses has no such field")
        case "one call" if client in GOOGLE:
            return Absent("one_call", "Gemini has no field to ask for it")
        case "one call" if provider in WITHOUT_ONE_CALL:
            return Absent("one_call", "Gemini and Converse have no such field")
        case "reasoning tokens" if provider == "claude-bedrock":
            return Absent("reasoning tokens", "Converse does not say what of its output was reasoning")
        case "refusal text" if provider in WITHOUT_WORDS:
            return Absent("refusal text", "Gemini says SAFETY and no word")
        case "bad request" | "bad request streamed" if provider != OWN.get(client, provider):
            return Refused("own:tool_choice", "LangChain sends a name that it does not know bare, as no dialect has it")
        case "reasoning" | "reasoning streamed" if client == "langchain-openai":
            return Absent("reasoning", "LangChain does not read `reasoning_content`")
    return None
