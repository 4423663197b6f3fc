"""Which of these tests a running proxy can be asked: owns that choice, and says what it left out."""

import json
import os
import urllib.request
from functools import cache

NEEDS = {"test_matrix.py": "gemini-3-sim", "test_openai.py": "small"}
"""Files, and a model that their stand serves."""


@cache
def left_out() -> dict[str, str]:
    request = urllib.request.Request(
        f"{os.environ['SPILLWAY_URL']}/v1/models",
        headers={"authorization": f"Bearer {os.environ['SPILLWAY_KEY']}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        served = {model["id"] for model in json.load(answer)["data"]}
    return {file: model for file, model in NEEDS.items() if model not in served}


def pytest_ignore_collect(collection_path):
    return True if collection_path.name in left_out() else None


def pytest_terminal_summary(terminalreporter):
    for file, model in left_out().items():
        terminalreporter.write_line(f"left out {file}: no model `{model}` at {os.environ['SPILLWAY_URL']}")
