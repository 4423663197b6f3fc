"""Work that nobody waits for, by the official OpenAI SDK."""

import io
import json
import os
import time

import openai
import pytest

client = openai.OpenAI(
    base_url=f"{os.environ['SPILLWAY_URL']}/v1", api_key=os.environ["SPILLWAY_KEY"], max_retries=0, timeout=60
)
PATIENCE_S = 60


def until(look, done):
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        found = look()
        if done(found):
            return found
        time.sleep(0.05)
    raise AssertionError(f"it never came to that: {found}")


def test_background_response():
    taken = client.responses.create(model="auto", input="Say something about rivers.", background=True)
    assert taken.status in ("queued", "in_progress") and taken.background
    done = until(lambda: client.responses.retrieve(taken.id), lambda found: found.status == "completed")
    assert done.id == taken.id and done.output_text and done.usage.total_tokens > 0
    client.responses.delete(taken.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(taken.id)


def test_background_cancel():
    taken = client.responses.create(model="auto", input="Say something about rivers.", background=True)
    # It may have been quicker than we are.
    assert client.responses.cancel(taken.id).status in ("cancelled", "completed")


def test_background_batch():
    line = {
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "auto", "messages": [{"role": "user", "content": "Say something about rivers."}]},
    }
    lines = "\n".join(json.dumps({"custom_id": f"river-{number}", **line}) for number in range(5))
    file = client.files.create(file=("work.jsonl", io.BytesIO(lines.encode())), purpose="batch")
    assert client.files.content(file.id).text == lines
    assert file.id in [known.id for known in client.files.list()]
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"of": "us"}
    )
    done = until(lambda: client.batches.retrieve(batch.id), lambda found: found.status == "completed")
    assert done.request_counts.completed == 5 and done.metadata == {"of": "us"}
    answers = [json.loads(line) for line in client.files.content(done.output_file_id).text.splitlines()]
    assert {answer["custom_id"] for answer in answers} == {f"river-{number}" for number in range(5)}
    assert all(answer["response"]["body"]["choices"][0]["message"]["content"] for answer in answers)
    assert batch.id in [known.id for known in client.batches.list()]
    assert client.files.delete(file.id).deleted


def test_background_file_of_another_purpose():
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=("x.txt", io.BytesIO(b"x")), purpose="assistants")
    assert "batch" in str(refused.value)
