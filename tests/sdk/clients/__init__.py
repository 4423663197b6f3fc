"""The client SDKs, each behind the same small adapter."""

from .anthropic_messages import Anthropic
from .google_genai import GoogleGenAI
from .google_interactions import GoogleInteractions
from .langchain import LangChainAnthropic, LangChainGoogle, LangChainOpenAI, LangChainResponses
from .openai_chat import OpenAIChat
from .openai_responses import OpenAIResponses

CLIENTS = {
    client.name: client
    for client in (
        OpenAIChat,
        OpenAIResponses,
        Anthropic,
        GoogleGenAI,
        GoogleInteractions,
        LangChainOpenAI,
        LangChainResponses,
        LangChainAnthropic,
        LangChainGoogle,
    )
}
