"""The official Anthropic client, unmodified, with providers of four dialects behind it: the same calls, one meaning."""

import base64
import json

import anthropic
from anthropic import Anthropic, beta_tool
from pydantic import BaseModel

import checks
from checks import calls, contains, equal, raises, received

client = Anthropic(base_url=checks.HTTP, api_key="unused", max_retries=0)
PROVIDERS = ["anthropic", "openai", "google", "bedrock"]
QUESTION = [{"role": "user", "content": "where does the lantern hang"}]

WEATHER = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}
CLOCK = {"name": "clock", "input_schema": {"type": "object", "properties": {"zone": {"type": "string"}}}}


def ask(model, messages=QUESTION, **more):
    return whole(client.messages.create(model=model, messages=messages, **{"max_tokens": 200} | more))


def whole(answer):
    """What the client reads leniently, by the letter of its own types."""
    type(answer).model_validate(answer.to_dict())
    return answer


def streamed(model, messages=QUESTION, **more):
    """The message at the end of a stream, and the events on the way."""
    with client.messages.stream(model=model, messages=messages, **{"max_tokens": 200} | more) as stream:
        events = list(stream)
        return whole(stream.get_final_message()), events


def text_of(answer):
    return "".join(block.text for block in answer.content if block.type == "text")


def of_kind(answer, kind):
    return [block for block in answer.content if block.type == kind]


def chat(provider):
    answer = ask(f"@{provider}/mock", system="be brief", metadata={"user_id": "u-1"})
    equal((answer.type, answer.role, answer.model), ("message", "assistant", "mock"), "a message")
    equal((answer.stop_reason, answer.stop_sequence), ("end_turn", None), "why it ended")
    equal(text_of(answer), "mock heard: where does the lantern hang", "text")
    assert answer.id and answer._request_id, f"ids of the message and of the request: {answer}"
    equal((answer.usage.input_tokens, answer.usage.output_tokens), (7, 7), "tokens, with those of the system prompt")


def older_version(provider):
    """Parameters that Anthropic's newest version has no more, but the others have, and Claude in an older one."""
    sampling = {"temperature": 0.4, "top_p": 0.9}
    answer = ask(f"@{provider}/mock-older?log", extra_body=sampling, extra_headers={"anthropic-version": "2023-06-01"})
    equal(answer.stop_reason, "end_turn", "answered")
    sent = received("mock-older")[-1] if provider in ("anthropic", "openai") else checks.mock("/requests?last=1")["requests"][0]
    contains(sent["body"], "0.4", f"{provider} was told")
    if provider == "anthropic":
        call = lambda: ask(f"@{provider}/mock", extra_body=sampling)
        contains(raises(anthropic.BadRequestError, call, "the newest version").message, "temperature", "what it refuses")


def stream(provider):
    answer, events = streamed(f"@{provider}/mock")
    expected = ask(f"@{provider}/mock")
    equal(text_of(answer), text_of(expected), "the pieces together")
    equal((answer.stop_reason, answer.model), ("end_turn", "mock"), "end of a stream")
    equal((answer.usage.input_tokens, answer.usage.output_tokens), (5, 7), "tokens of a stream")
    kinds = [event.type for event in events]
    equal((kinds[0], kinds[-1]), ("message_start", "message_stop"), "first and last event")
    pieces = [event.text for event in events if event.type == "text"]
    assert len(pieces) > 3, f"as they come: {pieces}"
    with client.messages.stream(model=f"@{provider}/mock", max_tokens=9, messages=QUESTION) as other:
        equal("".join(other.text_stream), text_of(expected), "the text alone")


def endings(provider):
    for more, reason, sequence in [
        ({"max_tokens": 3}, "max_tokens", None),
        ({"stop_sequences": ["lantern"]}, "stop_sequence" if provider == "anthropic" else None, "lantern"),
    ]:
        for answer in [ask(f"@{provider}/mock", **more), streamed(f"@{provider}/mock", **more)[0]]:
            if reason is None:
                # Other dialects do not say which sequence it was, some not even that it was one.
                assert answer.stop_reason in ("end_turn", "stop_sequence"), answer
                assert "lantern" not in text_of(answer), answer
                continue
            equal((answer.stop_reason, answer.stop_sequence), (reason, sequence), f"{provider} {more}")
    filtered = ask(f"@{provider}/mock?filtered")
    equal(filtered.stop_reason, "refusal", "an answer that was filtered")


def tools(provider):
    """Two calls at once, both results, then the answer; streamed the same calls come in pieces."""
    model = f"@{provider}/mock?tools=2"
    question = dict(tools=[WEATHER, CLOCK], messages=[{"role": "user", "content": "the weather in Oslo"}])
    first = ask(model, **question)
    equal(first.stop_reason, "tool_use", "why it ended")
    uses = of_kind(first, "tool_use")
    equal([use.name for use in uses], ["weather", "clock"], "parallel calls")
    equal(uses[0].input, {"city": "the weather in Oslo", "days": 1}, "arguments")
    equal(len({use.id for use in uses}), 2, "ids of calls")
    again, events = streamed(model, **question)
    equal([use.input for use in of_kind(again, "tool_use")], [use.input for use in uses], "streamed calls")
    equal(again.stop_reason, "tool_use", "why the stream ended")
    assert any(event.type == "input_json" for event in events), "arguments in pieces"
    results = [
        {"type": "tool_result", "tool_use_id": uses[0].id, "content": [{"type": "text", "text": "rain until noon"}]},
        {"type": "tool_result", "tool_use_id": uses[1].id, "content": "no such zone", "is_error": True},
    ]
    turns = question["messages"] + [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": results},
    ]
    for last in [ask(model, turns, tools=[WEATHER, CLOCK]), streamed(model, turns, tools=[WEATHER, CLOCK])[0]]:
        equal(last.stop_reason, "end_turn", "after the results")
        contains(text_of(last), "rain until noon", "the results were heard")
        contains(text_of(last), "no such zone", "the failed one, too")


def tool_choices(provider):
    parallel_is_known = provider in ("anthropic", "openai")
    for choice, names in [
        ({"type": "any"}, ["weather"]),
        ({"type": "tool", "name": "clock"}, ["clock"]),
        ({"type": "auto", "disable_parallel_tool_use": True}, ["weather"] if parallel_is_known else ["weather", "clock"]),
        ({"type": "none"}, []),
    ]:
        model = f"@{provider}/mock?tools=2" if choice["type"] in ("auto", "none") else f"@{provider}/mock"
        answer = ask(model, tools=[WEATHER, CLOCK], tool_choice=choice)
        equal([use.name for use in of_kind(answer, "tool_use")], names, f"{provider} {choice}")
    if not parallel_is_known:
        choice = {"type": "auto", "disable_parallel_tool_use": True}
        raw = client.messages.with_raw_response.create(
            model=f"@{provider}/mock", max_tokens=9, messages=QUESTION, tools=[WEATHER], tool_choice=choice
        )
        contains(raw.headers["x-pointsman-dropped-params"], "parallel", "what could not be said is told")


def tool_runner(provider):
    """The client's own loop: calls the function, sends the result, ends with the answer."""
    cities = []

    @beta_tool
    def weather(city: str) -> str:
        """The weather in a city."""
        cities.append(city)
        return f"sun in {city}"

    runner = client.beta.messages.tool_runner(
        model=f"@{provider}/mock?tools=1",
        max_tokens=200,
        tools=[weather],
        messages=[{"role": "user", "content": "Oslo"}],
    )
    answers = list(runner)
    equal(cities, ["Oslo"], "calls of the function")
    equal([answer.stop_reason for answer in answers], ["tool_use", "end_turn"], "steps of the loop")
    contains(text_of(answers[-1]), "sun in Oslo", "the answer")


class Harbour(BaseModel):
    class Quay(BaseModel):
        name: str
        depth: int

    name: str
    open: bool
    quays: list[Quay]


def structured_output(provider):
    """The client makes a schema of the class, and an object of the answer."""
    answer = client.messages.parse(
        model=f"@{provider}/mock", max_tokens=200, messages=QUESTION, output_format=Harbour
    )
    assert isinstance(answer.parsed_output, Harbour), answer
    with client.messages.stream(
        model=f"@{provider}/mock", max_tokens=200, messages=QUESTION, output_format=Harbour
    ) as stream:
        equal(stream.get_final_message().parsed_output, answer.parsed_output, "the streamed object")


def vision(provider):
    data = base64.b64encode(checks.png()).decode()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    content = [{"type": "text", "text": "what is this"}, image]
    answer = ask(f"@{provider}/mock?log&words=20", [{"role": "user", "content": content}])
    contains(text_of(answer), "what is this", "the question")
    contains(text_of(answer), "image", f"{provider} says what it saw")
    equal(len([request for request in received(data) if "what is this" in request["body"]]) > 0, True, "the picture")


def thinking(provider):
    """Thoughts are signed, and go back with the results of the tools that they led to."""
    more = dict(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2048, tools=[WEATHER])
    model = f"@{provider}/gemini-3-mock?thinking=5&tools=1"
    question = [{"role": "user", "content": "the weather in Oslo"}]
    for first in [ask(model, question, **more), streamed(model, question, **more)[0]]:
        equal([block.type for block in first.content], ["thinking", "tool_use"], f"{provider}: blocks of {first}")
        contains(first.content[0].thinking, "mock thinks:", "the thought")
        # Google signs the call, OpenAI nothing.
        signed = first.content[1].thought_signature if provider == "google" else first.content[0].signature
        assert signed or provider == "openai", f"a signature: {first}"
        result = {"type": "tool_result", "tool_use_id": first.content[1].id, "content": "rain"}
        turns = question + [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
        contains(text_of(ask(model, turns, **more)), "rain", "the answer")
        contains(text_of(streamed(model, turns, **more)[0]), "rain", "the streamed answer")


def caching(provider):
    long = "word " * 40
    system = [{"type": "text", "text": long, "cache_control": {"type": "ephemeral"}}]
    answer = ask(f"@{provider}/mock?cached=30", system=system)
    equal(answer.usage.cache_read_input_tokens, 30, "read from the cache")
    usage = answer.usage
    read = usage.input_tokens + usage.cache_read_input_tokens + (usage.cache_creation_input_tokens or 0)
    equal(read, 45, f"{provider}: all that was read")


def counting(provider):
    if provider in ("openai", "bedrock"):
        # Nobody there counts for us.
        call = lambda: client.messages.count_tokens(model=f"@{provider}/mock", messages=QUESTION)
        contains(str(raises(anthropic.BadRequestError, call, "counting")), provider, "who cannot count")
        return
    counted = client.messages.count_tokens(model=f"@{provider}/mock", messages=QUESTION, system="be brief")
    equal(counted.input_tokens, 7, "tokens")


def errors(provider):
    for status, kind, told in [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (413, anthropic.RequestTooLargeError, "request_too_large"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (503, anthropic.ServiceUnavailableError, None),
        (529, anthropic.OverloadedError, "overloaded_error"),
    ]:
        for call in [ask, streamed]:
            error = raises(kind, lambda: call(f"@{provider}/mock?status={status}"), f"{provider} {status}")
            equal((error.status_code, error.body["type"]), (status, "error"), "shape")
            if told:
                equal(error.body["error"]["type"], told, f"{provider} {status}")
            contains(error.message, f"{provider} error: ", "who said it")
            assert error.request_id, f"a request id: {error.response.headers}"


def an_error_in_a_stream(provider):
    """After the first words there is no status any more: an error event is."""
    pieces = []

    def read(model):
        with client.messages.stream(model=model, max_tokens=200, messages=QUESTION) as stream:
            pieces.extend(stream.text_stream)

    for fault in ["error-after=2", "abort=900"]:
        pieces.clear()
        error = raises(anthropic.APIStatusError, lambda: read(f"@{provider}/mock?chunks=20&{fault}"), fault)
        assert pieces, f"{provider} {fault}: the words before the error"
        equal(error.body["type"], "error", f"{provider} {fault}: {error.body}")
        words = "asks for this error in the stream" if fault == "error-after=2" else "broke off"
        contains(error.body["error"]["message"], words, f"{provider} {fault}: what happened")


def retries(provider):
    """The client tries again by itself, each time anew; by a config the gateway does, and the client sees nothing."""
    model = f"mock-anthropic-sdk-{provider}?status=503&retry-after=1ms"
    again = client.with_options(max_retries=2)
    call = lambda: again.messages.create(model=f"@{provider}/{model}", max_tokens=99, messages=QUESTION)
    raises(anthropic.ServiceUnavailableError, call, "a provider that always fails")
    equal(calls(model), 3, "calls at the provider")
    if provider != "bedrock":
        # The gateway waits a second, so one has to do.
        return
    config = {"provider": provider, "retry": {"attempts": 2, "on_status_codes": [503]}}
    headers = {"x-portkey-config": json.dumps(config)}
    answer = ask(f"mock-retried-{provider}?status=503,200", extra_headers=headers)
    equal((answer.stop_reason, calls(f"mock-retried-{provider}?status=503,200")), ("end_turn", 2), "the second try")


def impatience(provider):
    impatient = client.with_options(timeout=0.4)
    call = lambda: impatient.messages.create(model=f"@{provider}/mock?hang=headers", max_tokens=9, messages=QUESTION)
    raises(anthropic.APITimeoutError, call, "a client that does not wait")


def bad_requests():
    cases = [
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "%%%"}}]}]}, "messages"),
    ]
    for provider in ["openai", "google", "bedrock"]:
        for body, part in cases:
            call = lambda: client.messages.create(
                model=f"@{provider}/mock", max_tokens=9, messages=QUESTION, extra_body=body
            )
            error = raises(anthropic.BadRequestError, call, f"{provider} {body}")
            equal(error.body["error"]["type"], "invalid_request_error", f"{provider} {body}")
            contains(error.message, part, f"{provider} {body}")


def betas_pass():
    """What a beta adds goes to Claude as it came: header, field and all."""
    answer = client.beta.messages.create(
        model="@anthropic/mock-beta?log",
        max_tokens=99,
        messages=QUESTION,
        betas=["context-management-2025-06-27", "other-beta-2026-01-01"],
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
    )
    equal(answer.stop_reason, "end_turn", "answered")
    sent = received("mock-beta")[-1]
    equal(sent["headers"]["anthropic-beta"], "context-management-2025-06-27,other-beta-2026-01-01", "the header")
    contains(sent["body"], "clear_tool_uses_20250919", "the field")
    equal((sent["headers"]["x-api-key"], "unused" in str(sent["headers"])), ("sk-anthropic", False), "whose key")


def models():
    listed = client.models.list()
    for model in listed.data:
        assert model.id, model


for provider in PROVIDERS:
    for check in [
        chat,
        older_version,
        stream,
        endings,
        tools,
        tool_choices,
        tool_runner,
        structured_output,
        vision,
        thinking,
        caching,
        counting,
        errors,
        an_error_in_a_stream,
        retries,
        impatience,
    ]:
        checks.did(check, provider)
checks.did(bad_requests)
checks.did(betas_pass)
checks.did(models)
checks.end()
