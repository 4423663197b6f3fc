"""Every client SDK, every provider's dialect, every feature: one cell, one test. Its name is
`client / provider / feature`, and what is lost where something is; matrix.py reads that."""

from itertools import product

import openai
import pytest

from clients import CLIENTS
from clients.base import DEPTH, LENGTH, Ask, User
from clients.openai_chat import OpenAIChat, request
from features import FEATURES, PROVIDERS
from losses import loss

CELLS = list(product(CLIENTS, PROVIDERS, FEATURES))


def name(cell: tuple[str, str, str]) -> str:
    lost = loss(*cell)
    return " / ".join(cell + ((f"without {lost.name}",) if lost else ()))


@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_cell(cell):
    client, provider, feature = cell
    lost = loss(*cell)
    check = lost.check if lost else lambda client, provider, feature: FEATURES[feature](client, provider)
    check(CLIENTS[client](), provider, feature)


def test_what_is_lost_without_refusal_is_named_in_the_answer():
    client = OpenAIChat()
    ask = Ask([User("call both tools")], tools=(DEPTH, LENGTH), parallel=False)
    with openai.OpenAI(**client.options()) as sdk:
        raw = sdk.chat.completions.with_raw_response.create(**request("gemini-3-sim", ask))
    assert "one_call" in raw.headers["x-spillway-lossy"].split(",")
    assert raw.headers["x-spillway-model"] == "gemini-3-sim"
