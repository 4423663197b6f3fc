"""The official OpenAI SDK against a running Spillway. Knows its address and key only."""

import os

import openai
import pytest

client = openai.OpenAI(
    base_url=f"{os.environ['SPILLWAY_URL']}/v1", api_key=os.environ["SPILLWAY_KEY"], max_retries=0, timeout=60
)
MESSAGES = [{"role": "user", "content": "Say something about rivers."}]


def test_plain_answer():
    answer = client.chat.completions.create(model="auto", messages=MESSAGES)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens > 0


def test_plain_stream():
    text, finished, usage = "", None, None
    stream = client.chat.completions.create(
        model="auto", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finished = choice.finish_reason or finished
    assert text and finished == "stop" and usage.completion_tokens > 0


def test_plain_headers():
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=MESSAGES)
    assert raw.headers["x-spillway-model"] == "small"
    assert raw.headers["x-spillway-request-id"]
    assert raw.parse().choices[0].message.content


def test_plain_tools():
    tool = {
        "type": "function",
        "function": {
            "name": "depth_of",
            "description": "Depth of a river in metres",
            "parameters": {
                "type": "object",
                "properties": {"river": {"type": "string"}},
                "required": ["river"],
            },
        },
    }
    messages = [{"role": "user", "content": "call the tool for the Rhine"}]
    answer = client.chat.completions.create(model="auto", messages=messages, tools=[tool])
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.tool_calls[0].function.name == "depth_of"
    names = [
        call.function.name
        for chunk in client.chat.completions.create(model="auto", messages=messages, tools=[tool], stream=True)
        for choice in chunk.choices
        for call in choice.delta.tool_calls or []
        if call.function.name
    ]
    assert names == ["depth_of"]


def test_plain_models():
    assert {model.id for model in client.models.list()} == {"auto", "best", "small", "large"}


def test_plain_errors():
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nope", messages=MESSAGES)
    assert "nope" in str(unknown.value)
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-wrong").chat.completions.create(model="auto", messages=MESSAGES)


@pytest.mark.parametrize("stream", [False, True])
def test_failing_provider_is_not_seen(stream):
    for _ in range(3):
        answer = client.chat.completions.create(model="best", messages=MESSAGES, stream=stream)
        if stream:
            text = "".join(choice.delta.content or "" for chunk in answer for choice in chunk.choices)
            assert text
        else:
            assert answer.choices[0].message.content
