"""Responses that a provider keeps, by the official OpenAI SDK."""

import os

import openai
import pytest

client = openai.OpenAI(
    base_url=f"{os.environ['SPILLWAY_URL']}/v1", api_key=os.environ["SPILLWAY_KEY"], max_retries=0, timeout=60
)


def test_kept_responses():
    first = client.responses.create(model="responses-1", input="My name is Ada.")
    second = client.responses.create(model="responses-1", input="Who am I?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert client.responses.retrieve(second.id).output_text == second.output_text
    with client.responses.stream(model="responses-1", input="And now?", previous_response_id=second.id) as stream:
        third = stream.get_final_response()
    assert third.previous_response_id == second.id
    assert client.responses.retrieve(third.id).id == third.id
    client.responses.delete(third.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(third.id)
