"""Callers who pay their provider themselves, by the official SDKs: the key stands where each always puts it."""

import os

import anthropic
import openai
import pytest
from google import genai

URL = os.environ["SPILLWAY_URL"]
APART = {"x-spillway-key": os.environ["SPILLWAY_KEY"]}


def test_own_keys_of_openai():
    client = openai.OpenAI(base_url=f"{URL}/v1", api_key="sk-own-openai", default_headers=APART, max_retries=0)
    messages = [{"role": "user", "content": "hello"}]
    assert client.chat.completions.create(model="chat-1", messages=messages).choices[0].message.content
    with client.chat.completions.stream(model="chat-1", messages=messages) as stream:
        assert stream.get_final_completion().choices[0].message.content
    # Nobody there takes this key.
    with pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(model="claude-1", messages=messages)
    assert refused.value.status_code in (400, 403, 422), refused.value


def test_own_keys_of_anthropic():
    client = anthropic.Anthropic(base_url=URL, api_key="sk-own-anthropic", default_headers=APART, max_retries=0)
    messages = [{"role": "user", "content": "hello"}]
    assert client.messages.create(model="claude-1", max_tokens=50, messages=messages).content[0].text


def test_own_keys_of_google():
    options = {"base_url": URL, "headers": APART}
    with genai.Client(api_key="sk-own-google", http_options=options) as client:
        assert client.models.generate_content(model="gemini-3-sim", contents="hello").text


def test_own_keys_need_a_key_of_spillway():
    client = openai.OpenAI(
        base_url=f"{URL}/v1", api_key=os.environ["SPILLWAY_KEY"], default_headers={"x-spillway-key": "sk-other"}
    )
    with pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model="chat-1", messages=[{"role": "user", "content": "hello"}])
