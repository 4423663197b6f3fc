"""Which of these tests a running proxy can be asked: owns that choice, and says what it left out."""

import json
import os
import urllib.request

import pytest

NEEDS = {
    "test_matrix.py": "gemini-3-sim",
    "test_openai.py": "small",
    "test_own_keys.py": "gemini-3-sim",
    "test_stored.py": "responses-1",
    "test_vectors.py": "embed-1",
}
"""Files, and a model that their stand serves."""
LEFT_OUT = {}


def served() -> set[str]:
    request = urllib.request.Request(
        f"{os.environ['SPILLWAY_URL']}/v1/models",
        headers={"authorization": f"Bearer {os.environ['SPILLWAY_KEY']}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return {model["id"] for model in json.load(answer)["data"]}


def pytest_sessionstart():
    try:
        there = served()
    except (KeyError, OSError, ValueError) as error:
        pytest.exit(f"no proxy at SPILLWAY_URL with SPILLWAY_KEY: {error}", 4)
    LEFT_OUT.update({file: model for file, model in NEEDS.items() if model not in there})


def pytest_ignore_collect(collection_path):
    return True if collection_path.name in LEFT_OUT else None


def pytest_terminal_summary(terminalreporter):
    for file, model in LEFT_OUT.items():
        terminalreporter.write_line(f"left out {file}: no model `{model}` at {os.environ['SPILLWAY_URL']}")
