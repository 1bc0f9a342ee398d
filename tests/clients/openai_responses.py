"""The official OpenAI client, unmodified: responses that are kept, continued elsewhere, and run in the background."""

import json
import time

import openai
from openai import OpenAI

import checks
from checks import contains, equal, raises

client = OpenAI(base_url=f"{checks.HTTP}/v1", api_key="unused", max_retries=0)
ROOT = checks.MOCK.removesuffix("/v1")
QUESTION = "where does the lantern hang"
TOOL = {
    "type": "function",
    "name": "sound",
    "strict": False,
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}


def at(provider, url):
    """Asks the mock provider in the format of another provider."""
    return {"x-portkey-config": json.dumps({"provider": provider, "api_key": "unused", "custom_host": url})}


ANTHROPIC = at("anthropic", f"{ROOT}/anthropic/v1")
OPENAI = at("openai", f"{ROOT}/v1")


def ended(response):
    """Polls a response in the background, as OpenAI's guide does."""
    until = time.monotonic() + 30
    while response.status in ("queued", "in_progress"):
        assert time.monotonic() < until, f"still {response.status}"
        time.sleep(0.1)
        response = client.responses.retrieve(response.id)
    return response


def kept():
    """A response can be looked at, with what was asked."""
    made = client.responses.create(model="mock", input=QUESTION, instructions="be brief", metadata={"a": "b"})
    equal((made.object, made.status, made.model), ("response", "completed", "mock"), "response")
    contains(made.output_text, QUESTION, "the mock echoes the question")
    found = client.responses.retrieve(made.id)
    equal(found.to_dict(), made.to_dict(), "what is kept")
    equal((found.instructions, found.metadata, found.store), ("be brief", {"a": "b"}, True), "what was asked")
    items = client.responses.input_items.list(made.id).data
    equal([(item.type, item.role, item.content[0].text) for item in items], [("message", "user", QUESTION)], "input")
    return made


def streamed():
    """The end of a stream is there when the response can be continued, and not before."""
    events = list(client.responses.create(model="mock?chunks=9", input=QUESTION, stream=True))
    kinds = [event.type for event in events]
    equal((kinds[0], kinds[-1]), ("response.created", "response.completed"), "first and last event")
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    made = events[-1].response
    again = client.responses.create(model="mock-after-stream?log", input="and then", previous_response_id=made.id)
    contains(again.output_text, "and then", "the last question is answered")
    equal((made.output_text, made.id), (text, events[0].response.id), "the whole response")
    equal(client.responses.retrieve(made.id).output_text, text, "what is kept")
    [request] = checks.received("mock-after-stream")
    contains(request["body"], QUESTION, "the first question is asked again")
    with client.responses.stream(model="mock", input=QUESTION) as stream:
        contains(stream.get_final_response().output_text, QUESTION, "the helper of the client")


def tools_across_providers():
    """Three turns at three providers, in three formats: each sees all that was said before."""
    first = client.responses.create(model="mock-a?tools=1&log", input="measure the harbour", tools=[TOOL])
    [call] = [item for item in first.output if item.type == "function_call"]
    equal((call.name, first.status), ("sound", "completed"), "the call")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "nine fathoms"}
    second = client.responses.create(
        model="mock-b?log", input=[result], tools=[TOOL], previous_response_id=first.id, extra_headers=ANTHROPIC
    )
    contains(second.output_text, "nine fathoms", "the result is answered")
    equal(second.previous_response_id, first.id, "previous response")
    [request] = checks.received("mock-b")
    equal(request["path"], "/anthropic/v1/messages", "who is asked")
    for part in ("measure the harbour", "tool_use", "tool_result", call.call_id, "nine fathoms"):
        contains(request["body"], part, "Anthropic sees the whole conversation")
    assert "previous_response_id" not in request["body"], request["body"]

    third = client.responses.create(
        model="mock-c?log", input="is that deep", previous_response_id=second.id, extra_headers=OPENAI
    )
    contains(third.output_text, "is that deep", "the last question is answered")
    [request] = checks.received("mock-c")
    equal(request["path"], "/v1/responses", "who is asked")
    asked = json.loads(request["body"])
    kinds = [item.get("type", "message") for item in asked["input"]]
    equal(kinds, ["message", "function_call", "function_call_output", "message", "message"], "items")
    assert "previous_response_id" not in asked, "the provider does not know our ids"

    items = client.responses.input_items.list(second.id, order="asc", limit=2)
    equal([item.type for item in items.data], ["message", "function_call"], "first page of what was asked")
    equal([item.type for item in items], ["message", "function_call", "function_call_output"], "all pages")


def kept_by_the_provider():
    """A provider that speaks this dialect keeps its answers itself: its ids go through to it, and to nobody else."""
    made = client.responses.create(model="mock", input=QUESTION, extra_headers=OPENAI)
    again = client.responses.create(
        model="mock-native?log", input="and then", previous_response_id=made.id, extra_headers=OPENAI
    )
    equal(again.previous_response_id, made.id, "previous response")
    [request] = checks.received("mock-native")
    contains(request["body"], made.id, "the provider gets the id")
    error = raises(
        openai.BadRequestError,
        lambda: client.responses.create(
            model="mock", input="x", previous_response_id=made.id, extra_headers=ANTHROPIC
        ),
        "a response of another provider",
    )
    equal((error.code, error.param), ("previous_response_not_found", "previous_response_id"), "error")
    contains(error.message, f"Previous response with id '{made.id}' not found.", "OpenAI's words")
    echo = client.responses.with_raw_response.retrieve(made.id, extra_headers=OPENAI)
    equal(json.loads(echo.text)["path"], f"/v1/responses/{made.id}", "the provider is asked")


def background():
    """Answered at once, asked for by id until it has ended."""
    begun = client.responses.create(model="mock?delay=1s&words=20", input=QUESTION, background=True, user="somebody")
    equal((begun.status, begun.background, begun.user, begun.output), ("queued", True, "somebody", []), "begun")
    early = raises(
        openai.BadRequestError,
        lambda: client.responses.create(model="mock", input="x", previous_response_id=begun.id),
        "a response that has not ended",
    )
    equal(early.code, "previous_response_not_ended", "code")
    shown = client.responses.retrieve(begun.id)
    assert shown.status in ("queued", "in_progress"), shown.status
    equal((shown.id, shown.user), (begun.id, "somebody"), "while it runs")
    made = ended(begun)
    equal((made.id, made.status, made.background), (begun.id, "completed", True), "ended")
    contains(made.output_text, QUESTION, "answer")
    again = client.responses.create(model="mock-e?log", input="go on", previous_response_id=made.id, background=True)
    equal(ended(again).status, "completed", "a second turn in the background")
    [request] = checks.received("mock-e")
    contains(request["body"], QUESTION, "the first turn is there")
    equal(len(client.responses.input_items.list(again.id).data), 3, "what was asked in all")


def background_at_a_provider_of_this_dialect():
    """The id stays ours, and the provider answers at once."""
    begun = client.responses.create(model="mock-f?log", input=QUESTION, background=True, extra_headers=OPENAI)
    made = ended(begun)
    equal((made.id, made.status), (begun.id, "completed"), "ended")
    contains(made.output_text, QUESTION, "answer")
    [request] = checks.received("mock-f")
    assert "background" not in json.loads(request["body"]), request["body"]
    again = client.responses.create(model="mock-g?log", input="go on", previous_response_id=made.id)
    contains(again.output_text, "go on", "continued elsewhere")


def cancelled():
    begun = client.responses.create(model="mock?hang=headers", input=QUESTION, background=True)
    until = time.monotonic() + 20
    while client.responses.retrieve(begun.id).status != "in_progress":
        assert time.monotonic() < until, "it never began"
        time.sleep(0.05)
    equal(client.responses.cancel(begun.id).status, "cancelled", "cancelled")
    equal(client.responses.cancel(begun.id).status, "cancelled", "cancelled twice")
    equal(client.responses.retrieve(begun.id).status, "cancelled", "afterwards")


def failed():
    begun = client.responses.create(model="mock?status=400", input=QUESTION, background=True)
    made = ended(begun)
    equal((made.status, made.output), ("failed", []), "failed")
    assert made.error.code and made.error.message, made.error


def refused(made):
    cases = [
        ("stream", dict(background=True, stream=True)),
        ("store", dict(background=True, store=False)),
    ]
    for param, more in cases:
        error = raises(
            openai.BadRequestError, lambda: client.responses.create(model="mock", input="x", **more), str(more)
        )
        equal(error.param, param, str(more))
    error = raises(openai.BadRequestError, lambda: client.responses.cancel(made.id), "not in the background")
    contains(error.message, "Cannot cancel a synchronous response", "OpenAI's words")
    error = raises(
        openai.BadRequestError, lambda: client.responses.retrieve(made.id, extra_query={"stream": "true"}), "a stream"
    )
    equal(error.param, "stream", "a stream of what is kept")
    unkept = client.responses.create(model="mock", input=QUESTION, store=False)
    unknown = f"resp_r{22 * '0'}"
    for id in (unkept.id, unknown):
        raises(openai.NotFoundError, lambda: client.responses.retrieve(id), id)
        raises(openai.NotFoundError, lambda: client.responses.delete(id), id)
        error = raises(
            openai.BadRequestError,
            lambda: client.responses.create(model="mock", input="x", previous_response_id=id),
            id,
        )
        equal(error.code, "previous_response_not_found", id)


def deleted(made):
    client.responses.delete(made.id)
    for call in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
        error = raises(openai.NotFoundError, lambda: call(made.id), "a deleted response")
        contains(error.message, f"Response with id '{made.id}' not found.", "OpenAI's words")
    error = raises(
        openai.BadRequestError,
        lambda: client.responses.create(model="mock", input="x", previous_response_id=made.id),
        "continuing a deleted response",
    )
    equal(error.code, "previous_response_not_found", "code")
    begun = client.responses.create(model="mock?hang=headers", input=QUESTION, background=True)
    client.responses.delete(begun.id)
    raises(openai.NotFoundError, lambda: client.responses.retrieve(begun.id), "deleted while it ran")


made = kept()
streamed()
tools_across_providers()
kept_by_the_provider()
background()
background_at_a_provider_of_this_dialect()
cancelled()
failed()
refused(made)
deleted(made)
