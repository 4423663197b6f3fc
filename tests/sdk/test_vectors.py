"""The official OpenAI SDK's embeddings and images against a running Spillway."""

import base64
import os

import openai

client = openai.OpenAI(
    base_url=f"{os.environ['SPILLWAY_URL']}/v1", api_key=os.environ["SPILLWAY_KEY"], max_retries=0, timeout=60
)


def test_texts_become_vectors():
    answer = client.embeddings.create(model="vectors", input=["how deep", "how wide", "how deep"])
    first, second, third = (item.embedding for item in answer.data)
    assert len(first) == len(second) > 0
    assert first == third != second
    assert answer.usage.prompt_tokens > 0


def test_token_ids_and_plain_floats():
    answer = client.embeddings.create(model="embed-1", input=[1, 2, 3], encoding_format="float")
    assert len(answer.data) == 1 and isinstance(answer.data[0].embedding[0], float)


def test_a_prompt_becomes_an_image():
    answer = client.images.generate(model="image-1", prompt="a river", n=1)
    assert base64.b64decode(answer.data[0].b64_json).startswith(b"\x89PNG")


def test_an_image_comes_as_a_stream():
    stream = client.images.generate(model="image-1", prompt="a river", stream=True, partial_images=1)
    kinds = [event.type for event in stream]
    assert kinds[-1] == "image_generation.completed"
