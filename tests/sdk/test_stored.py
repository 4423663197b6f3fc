"""Responses and interactions that a provider keeps, by the official SDKs."""

import os

import openai
import pytest
from google import genai
from google.genai import _interactions_errors as errors

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


def test_kept_interactions():
    options = {"base_url": os.environ["SPILLWAY_URL"], "timeout": 60_000}
    with genai.Client(api_key=os.environ["SPILLWAY_KEY"], http_options=options) as google:
        interactions = google.interactions
        first = interactions.create(model="gemini-3-steps", input="My name is Ada.")
        asked = {"model": "gemini-3-steps", "input": "what did I say first"}
        second = interactions.create(**asked, previous_interaction_id=first.id)
        assert second.previous_interaction_id == first.id
        assert second.output_text == "You said first: My name is Ada."
        assert interactions.get(second.id).output_text == second.output_text
        events = list(interactions.create(**asked, previous_interaction_id=second.id, stream=True))
        third = events[-1].interaction
        assert interactions.get(third.id).output_text == second.output_text
        interactions.delete(third.id)
        with pytest.raises(errors.NotFoundError):
            interactions.get(third.id)
