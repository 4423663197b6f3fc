"""What every client must be able to do with every provider: owns the checks, once for all."""

from contextlib import contextmanager

import pytest

from clients.base import DEPTH, LENGTH, SCHEMA, Ask, Client, Gauge, Results, User
from sockets import open_sockets

PROVIDERS = ["chat-1", "responses-1", "claude-1", "gemini-3-sim", "gemini-3-steps", "claude-bedrock"]
"""Routes to a provider each, of one dialect each."""
LONG = "the river " * 400


def says(client: Client, model: str, mode: str):
    heard = client.ask(mode, model, Ask([User("the river is wide")]))
    assert heard.text == "echo: the river is wide"
    assert heard.end == "stop" and not heard.calls
    assert heard.input > 0 and heard.output > 0
    if mode.endswith("stream"):
        assert "".join(heard.deltas) == heard.text and len(heard.deltas) > 1


def calls(client: Client, model: str, mode: str, tools, cue: str, said: list[str]):
    """Calls, results and the answer to them: what the SDK heard is what it sends back."""
    asked = [User(f"please {cue} for the Rhine")]
    heard = client.ask(mode, model, Ask(asked, tools=tools))
    assert [call.name for call in heard.calls] == [tool.name for tool in tools]
    assert all(call.args == {"river": "sample"} for call in heard.calls)
    assert heard.end == "tools"
    asked += [heard, Results(list(zip(heard.calls, said)))]
    answer = client.ask(mode, model, Ask(asked, tools=tools))
    assert answer.text.startswith("The tool said: ") and answer.end == "stop"
    places = [answer.text.index(text) for text in said]
    assert places == sorted(places)
    asked += [answer, User("what did I say first")]
    assert client.ask(mode, model, Ask(asked, tools=tools)).text.endswith(f"first: {asked[0].text}")


def one_call(client, model, mode="whole"):
    calls(client, model, mode, (DEPTH,), "call the tool", ["21 m"])


def two_calls(client, model, mode="whole"):
    calls(client, model, mode, (DEPTH, LENGTH), "call both tools", ["21 m", "1233 km"])


def single_call(client, model):
    heard = client.whole(model, Ask([User("call both tools")], tools=(DEPTH, LENGTH), parallel=False))
    assert [call.name for call in heard.calls] == ["depth_of"]


def forced(client, model):
    heard = client.whole(model, Ask([User("hello")], tools=(DEPTH, LENGTH), choice="length_of"))
    assert [call.name for call in heard.calls] == ["length_of"]


def forbidden(client, model):
    heard = client.whole(model, Ask([User("call the tool")], tools=(DEPTH,), choice="none"))
    assert not heard.calls and heard.text == "echo: call the tool"


def system(client, model):
    heard = client.whole(model, Ask([User("what is your instruction")], system="Be brief."))
    assert heard.text == "My instruction is: Be brief."


def turns(client, model):
    asked = [User("good morning")]
    asked += [client.whole(model, Ask(asked)), User("what did I say first")]
    assert client.whole(model, Ask(asked)).text == "You said first: good morning"


def schema(client, model, mode="whole"):
    heard = client.ask(mode, model, Ask([User("measure the Rhine")], schema=SCHEMA))
    assert Gauge.model_validate_json(heard.text) == Gauge(river="sample", metres=7)


def parsed(client, model):
    assert client.parse(model, "measure the Rhine") == Gauge(river="sample", metres=7)


def image(client, model):
    assert client.whole(model, Ask([User("how many images", images=2)])).text == "I see 2 images"


def reasoning(client, model, mode="whole"):
    heard = client.ask(mode, model, Ask([User("the river")], effort="high"))
    assert heard.reasoning == "thinking about it" and heard.text == "echo: the river"


def reasoning_tokens(client, model):
    assert client.whole(model, Ask([User("the river")], effort="high")).reasoning_tokens == 3


def reasoned_call(client, model):
    """Reasoning and a call in one turn, which then goes back."""
    asked = [User("please call the tool")]
    heard = client.whole(model, Ask(asked, tools=(DEPTH,), effort="high"))
    asked += [heard, Results([(heard.calls[0], "21 m")])]
    assert "21 m" in client.whole(model, Ask(asked, tools=(DEPTH,), effort="high")).text


def stop(client, model):
    heard = client.whole(model, Ask([User("one two STOP three")], stop="STOP"))
    assert heard.text.rstrip() == "echo: one two" and heard.end == "stop"


def limit(client, model, mode="whole"):
    heard = client.ask(mode, model, Ask([User(LONG)], limit=20))
    assert heard.end == "length" and 0 < heard.output <= 20


def refusal(client, model):
    assert client.whole(model, Ask([User("refuse this")])).end == "refused"


def refusal_text(client, model):
    assert client.whole(model, Ask([User("refuse this")])).text == "I cannot help with that."


def usage(client, model):
    whole, stream = (client.ask(mode, model, Ask([User("the river")])) for mode in ("whole", "stream"))
    assert (whole.input, whole.output) == (stream.input, stream.output)


def unknown_model(client, model):
    with refused(client.not_found, 404) as error:
        client.whole("nope", Ask([User("hello")]))
    assert "nope" in str(error.value)


def wrong_key(client, model):
    with refused(client.unauthorized, 401):
        type(client)(key="sk-wrong").whole(model, Ask([User("hello")]))


def bad_request(client, model, mode="whole"):
    """The provider itself refuses it; its message comes through."""
    with refused(client.bad_request, 400) as error:
        client.ask(mode, model, Ask([User("hello")], tools=(DEPTH,), choice="no_such_tool"))
    words = ("no_such_tool", "no such tool", "no function declaration")
    assert any(word in str(error.value) for word in words), str(error.value)


@contextmanager
def refused(kind: type[Exception], status: int):
    with pytest.raises(kind) as error:
        yield error
    code = getattr(error.value, "status_code", None) or getattr(error.value, "code", None)
    assert code == status or str(status) in str(error.value)


def cancel(client, model):
    """Dropping a stream closes its connection, unless all of it was there already."""
    assert any(cancelled(client, model) for _ in range(10))


def cancelled(client, model) -> bool:
    stream = client.cancel(model, LONG)
    next(stream)
    during = open_sockets(client.url)
    next(stream)
    closed = during - open_sockets(client.url)
    assert next(stream, None) is None
    return bool(closed)


def moved_call(client, model):
    """Called by one provider, answered by each of the others: so are conversations routed."""
    asked = [User("please call the tool")]
    heard = client.whole(model, Ask(asked, tools=(DEPTH,)))
    asked += [heard, Results([(heard.calls[0], "21 m")])]
    for other in PROVIDERS:
        assert "21 m" in client.whole(other, Ask(asked, tools=(DEPTH,))).text


def moved_reasoning(client, model):
    asked = [User("good morning")]
    asked += [client.whole(model, Ask(asked, effort="high")), User("what did I say first")]
    for other in PROVIDERS:
        assert client.whole(other, Ask(asked, effort="high")).text == "You said first: good morning"


def models(client, model):
    assert model in client.models()


def loop(client, model):
    assert client.loop(model, "please call the tool") == "The tool said: 21 m"


FEATURES = {
    "text": lambda client, model: says(client, model, "whole"),
    "stream": lambda client, model: says(client, model, "stream"),
    "text async": lambda client, model: says(client, model, "async"),
    "stream async": lambda client, model: says(client, model, "async-stream"),
    "system": system,
    "turns": turns,
    "tool": one_call,
    "tool streamed": lambda client, model: one_call(client, model, "stream"),
    "tool async": lambda client, model: one_call(client, model, "async"),
    "tool async streamed": lambda client, model: one_call(client, model, "async-stream"),
    "two tools": two_calls,
    "two tools streamed": lambda client, model: two_calls(client, model, "stream"),
    "one call": single_call,
    "tool forced": forced,
    "tool forbidden": forbidden,
    "schema": schema,
    "schema streamed": lambda client, model: schema(client, model, "stream"),
    "parse": parsed,
    "image": image,
    "reasoning": reasoning,
    "reasoning streamed": lambda client, model: reasoning(client, model, "stream"),
    "reasoning tokens": reasoning_tokens,
    "reasoned call": reasoned_call,
    "moved call": moved_call,
    "moved reasoning": moved_reasoning,
    "stop": stop,
    "limit": limit,
    "limit streamed": lambda client, model: limit(client, model, "stream"),
    "refusal": refusal,
    "refusal text": refusal_text,
    "usage": usage,
    "unknown model": unknown_model,
    "wrong key": wrong_key,
    "bad request": bad_request,
    "bad request streamed": lambda client, model: bad_request(client, model, "stream"),
    "cancel": cancel,
    "tool loop": loop,
    "models": models,
}
