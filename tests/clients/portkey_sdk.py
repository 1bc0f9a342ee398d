"""The official Portkey client, unmodified: providers, inline configs, metadata, traces, streams and errors."""

import asyncio

from portkey_ai import AsyncPortkey, Portkey

import checks
from checks import calls, contains, equal

BASE = f"{checks.HTTP}/v1"
QUESTION = [{"role": "user", "content": "where does the lantern hang"}]


def portkey(**more):
    """A client whose provider's host is the mock."""
    return Portkey(base_url=BASE, api_key="unused", custom_host=checks.MOCK, **more)


def target(model, **more):
    return {"provider": "openai", "api_key": "k", "override_params": {"model": model}, **more}


def ask(client, model="sdk", **more):
    return client.chat.completions.create(model=model, messages=QUESTION, **more)


def header(answer, name):
    return answer.get_headers()[name]


def single():
    answer = ask(portkey(provider="openai", Authorization="Bearer sk-sdk"))
    contains(answer.choices[0].message.content, "where does the lantern hang", "the mock echoes the question")
    equal(header(answer, "provider"), "openai", "provider")
    equal(header(answer, "last-used-option-index"), "config", "option index")
    equal(header(answer, "retry-attempt-count"), "0", "retries")
    equal(header(answer, "cache-status"), "DISABLED", "cache")
    assert header(answer, "trace-id"), "a trace id without asking"


def trace_and_metadata():
    client = portkey(provider="openai", trace_id="sdk-trace", metadata={"_user": "u-1", "team": "search"})
    equal(header(ask(client), "trace-id"), "sdk-trace", "the caller's trace id")
    other = client.with_options(trace_id="other-trace", metadata={"_user": "u-2"})
    equal(header(ask(other), "trace-id"), "other-trace", "the call's own trace id")


def fallback():
    config = {"strategy": {"mode": "fallback"}, "targets": [target("sdk-first?status=503"), target("sdk-second")]}
    answer = ask(portkey(config=config))
    equal(header(answer, "last-used-option-index"), "config.targets[1]", "option index")
    equal((calls("sdk-first?status=503"), calls("sdk-second")), (1, 1), "calls")


def nested():
    inner = {"strategy": {"mode": "fallback"}, "targets": [target("sdk-in?status=500"), target("sdk-in-2")], "weight": 1}
    config = {"strategy": {"mode": "loadbalance"}, "targets": [target("sdk-never", weight=0), inner]}
    answer = ask(portkey(config=config))
    equal(header(answer, "last-used-option-index"), "config.targets[1].targets[1]", "option index")
    equal(calls("sdk-never"), 0, "calls of a target without weight")


def load_balanced():
    config = {
        "strategy": {"mode": "loadbalance"},
        "targets": [target("sdk-a", weight=0.5), target("sdk-b", weight=0.5)],
    }
    client = portkey(config=config)
    places = [header(ask(client), "last-used-option-index") for _ in range(40)]
    assert 5 <= places.count("config.targets[0]") <= 35, f"both targets have a share: {places}"
    equal(calls("sdk-a") + calls("sdk-b"), 40, "calls")


def retried():
    config = {"provider": "openai", "api_key": "k", "retry": {"attempts": 2, "on_status_codes": [500]}}
    answer = ask(portkey(config=config), model="sdk-retried?status=500,200")
    equal(header(answer, "retry-attempt-count"), "1", "retries")


def streamed():
    client = portkey(provider="openai")
    chunks = list(ask(client, stream=True))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    contains("".join(pieces), "where does the lantern hang", "the pieces together")
    assert sum(1 for piece in pieces if piece) > 3, f"one word a chunk: {pieces}"


def streamed_asynchronously():
    async def read():
        client = AsyncPortkey(base_url=BASE, api_key="unused", custom_host=checks.MOCK, provider="openai")
        pieces = []
        async for chunk in await client.chat.completions.create(model="sdk", messages=QUESTION, stream=True):
            pieces += [choice.delta.content or "" for choice in chunk.choices]
        return "".join(pieces)

    contains(asyncio.run(read()), "where does the lantern hang", "the pieces together")


def other_operations():
    client = portkey(provider="openai")
    answer = client.completions.create(model="sdk", prompt="say something")
    contains(answer.choices[0].text, "say something", "a text completion")
    vectors = client.embeddings.create(model="sdk", input=["a", "b"])
    equal(len(vectors.data), 2, "embeddings")
    assert any(model.id for model in client.models.list().data), "models"


def fails(client, status, part, **more):
    """Errors have the class of the client's own OpenAI library, with status and message."""
    try:
        answer = ask(client, **more)
    except Exception as error:
        equal(getattr(error, "status_code", None), status, f"status of {error!r}")
        contains(str(error), part, "message")
        return error
    raise AssertionError(f"answered {answer!r} instead of failing with {status}")


def errors():
    fails(portkey(provider="nosuch"), 400, "Invalid provider passed")
    fails(portkey(config={"strategy": {"mode": "nope"}, "targets": [target("x")]}), 400, "Invalid config passed")
    fails(Portkey(base_url=BASE, api_key="unused", provider="openai", custom_host="http://10.0.0.1/v1"), 400, "Invalid custom host")
    for status in (400, 401, 403, 404, 422, 429, 500, 503):
        error = fails(portkey(provider="openai"), status, "openai error: ", model=f"sdk-error-{status}?status={status}")
        equal(error.response.headers["x-portkey-provider"], "openai", "provider of an error")
        equal(calls(f"sdk-error-{status}?status={status}"), 1, f"the client does not repeat a {status}")
    slow = portkey(provider="openai", request_timeout=200)
    fails(slow, 408, "Request exceeded the timeout sent in the request: 200ms", model="sdk?delay=2s")


def forwarded_headers():
    client = portkey(provider="openai", forward_headers=["x-tenant"], x_tenant="t-1")
    ask(client, model="sdk-forward?log")
    equal(checks.received("sdk-forward")[-1]["headers"].get("x-tenant"), "t-1", "a forwarded header")


single()
trace_and_metadata()
fallback()
nested()
load_balanced()
retried()
streamed()
streamed_asynchronously()
other_operations()
errors()
forwarded_headers()
