"""The official OpenAI client, unmodified, with providers of seven formats behind it: the same calls, one meaning."""

import base64
import json

import openai
from openai import OpenAI
from pydantic import BaseModel

import checks
from checks import calls, contains, equal, raises

client = OpenAI(base_url=f"{checks.HTTP}/v1", api_key="unused", max_retries=0)
PROVIDERS = ["openai", "anthropic", "google", "bedrock", "cohere", "ollama", "workers-ai"]
QUESTION = [{"role": "user", "content": "where does the lantern hang"}]
ANSWER = "mock heard: where does the lantern hang"

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {"name": "clock", "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}}},
}


def whole(answer):
    """What the client reads leniently, by the letter of its own types."""
    type(answer).model_validate(answer.to_dict())
    return answer


def ask(model, messages=QUESTION, **more):
    return whole(client.chat.completions.create(model=model, messages=messages, **more))


def streamed(model, messages=QUESTION, **more):
    """The completion that the client's own helper puts together of the chunks, and the kinds of events on the way."""
    more = {"stream_options": {"include_usage": True}} | more
    with client.chat.completions.stream(model=model, messages=messages, **more) as stream:
        kinds = [event.type for event in stream]
        return stream.get_final_completion(), kinds


def chat(provider):
    system = [{"role": "system", "content": "be brief"}]
    answer = ask(f"@{provider}/mock", system + QUESTION, temperature=0.4, max_completion_tokens=50)
    equal((answer.object, answer.model), ("chat.completion", "mock"), "a completion")
    choice = answer.choices[0]
    equal((choice.message.role, choice.finish_reason), ("assistant", "stop"), "choice")
    equal(choice.message.content, ANSWER, "text")
    assert answer.id and answer.created and answer._request_id, f"ids and time: {answer}"
    equal((answer.usage.prompt_tokens, answer.usage.completion_tokens), (7, 7), "tokens")
    equal(answer.usage.total_tokens, 14, "tokens in all")


def stream(provider):
    answer, kinds = streamed(f"@{provider}/mock")
    equal(answer.choices[0].message.content, ANSWER, "the pieces together")
    equal((answer.choices[0].finish_reason, answer.model), ("stop", "mock"), "end of a stream")
    equal((answer.usage.prompt_tokens, answer.usage.total_tokens), (5, 12), "tokens of a stream")
    assert kinds.count("content.delta") > 3, f"as they come: {kinds}"
    chunks = list(client.chat.completions.create(model=f"@{provider}/mock", messages=QUESTION, stream=True))
    equal({chunk.object for chunk in chunks}, {"chat.completion.chunk"}, "object")
    equal(len({chunk.id for chunk in chunks}), 1, "ids of one stream")
    equal([chunk.usage for chunk in chunks if chunk.usage], [], "tokens that nobody asked for")
    for chunk in chunks:
        whole(chunk)


def endings(provider):
    for answer in [
        ask(f"@{provider}/mock", max_completion_tokens=3),
        streamed_raw(f"@{provider}/mock", max_completion_tokens=3),
    ]:
        # Workers AI does not say why an answer ended.
        equal(answer.choices[0].finish_reason, "stop" if provider == "workers-ai" else "length", f"{provider}: cut")
    if provider != "workers-ai":
        # Nor does it know stop sequences.
        stopped = ask(f"@{provider}/mock", stop=["lantern"])
        equal((stopped.choices[0].finish_reason, "lantern" in stopped.choices[0].message.content), ("stop", False), "stop")
    if provider not in ("ollama", "workers-ai", "cohere"):
        filtered = ask(f"@{provider}/mock?filtered").choices[0]
        equal(filtered.finish_reason, "content_filter", f"{provider}: a filtered answer")


def streamed_raw(model, **more):
    """The helper raises for cut answers, so the last chunk with a choice is looked at."""
    chunks = [c for c in client.chat.completions.create(model=model, messages=QUESTION, stream=True, **more) if c.choices]
    return chunks[-1]


def tools(provider):
    """Two calls at once, both results, then the answer; streamed the same calls come in pieces."""
    model = f"@{provider}/mock?tools=2"
    question = [{"role": "user", "content": "the weather in Oslo"}]
    first = ask(model, question, tools=[WEATHER, CLOCK]).choices[0]
    equal(first.finish_reason, "tool_calls", f"{provider}: why it ended")
    called = first.message.tool_calls
    equal([call.function.name for call in called], ["weather", "clock"], "parallel calls")
    equal(json.loads(called[0].function.arguments), {"city": "the weather in Oslo", "days": 1}, "arguments")
    equal(len({call.id for call in called}), 2, "ids of calls")
    chunks = client.chat.completions.create(model=model, messages=question, tools=[WEATHER, CLOCK], stream=True)
    pieces = {}
    reason = None
    for chunk in chunks:
        for choice in chunk.choices:
            reason = choice.finish_reason or reason
            for call in choice.delta.tool_calls or []:
                place = pieces.setdefault(call.index, {"name": "", "arguments": "", "id": None})
                place["id"] = call.id or place["id"]
                place["name"] += call.function.name or ""
                place["arguments"] += call.function.arguments or ""
    equal(reason, "tool_calls", "why the stream ended")
    again = [pieces[index] for index in sorted(pieces)]
    equal([call["name"] for call in again], ["weather", "clock"], "streamed calls")
    equal(json.loads(again[0]["arguments"]), json.loads(called[0].function.arguments), "streamed arguments")
    assert all(call["id"] for call in again), again
    turns = question + [
        first.message,
        {"role": "tool", "tool_call_id": called[0].id, "content": "rain until noon"},
        {"role": "tool", "tool_call_id": called[1].id, "content": "no such zone"},
    ]
    last = ask(model, turns, tools=[WEATHER, CLOCK]).choices[0]
    equal(last.finish_reason, "stop", "after the results")
    contains(last.message.content, "rain until noon", "the results were heard")
    contains(streamed(model, turns, tools=[WEATHER])[0].choices[0].message.content, "no such zone", "the streamed answer")


def tool_choices(provider):
    if provider == "ollama":
        # It knows no choice: a call that must be made cannot be had, and that is told.
        call = lambda: client.chat.completions.with_raw_response.create(
            model=f"@{provider}/mock", messages=QUESTION, tools=[WEATHER], tool_choice="required"
        )
        contains(call().headers["x-pointsman-dropped-params"], "tool_choice", "what was left out")
        return
    if provider == "workers-ai":
        # Whether there is a choice depends on the model.
        return
    for choice, names in [
        ("required", ["weather"]),
        ({"type": "function", "function": {"name": "clock"}}, ["clock"]),
        ("none", []),
    ]:
        answer = ask(f"@{provider}/mock{'?tools=2' if choice == 'none' else ''}", tools=[WEATHER, CLOCK], tool_choice=choice)
        called = answer.choices[0].message.tool_calls or []
        if provider == "cohere" and choice not in ("required", "none"):
            # It can be told to call something, but not what.
            equal(len(called), 1, "a call")
            continue
        equal([call.function.name for call in called], names, f"{provider} {choice}")


class Quay(BaseModel):
    name: str
    depth: int


class Harbour(BaseModel):
    name: str
    open: bool
    quays: list[Quay]


def structured_output(provider):
    """The client makes a schema with references of the classes, and an object of the answer."""
    answer = client.chat.completions.parse(model=f"@{provider}/mock", messages=QUESTION, response_format=Harbour)
    parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, Harbour), answer
    again = streamed(f"@{provider}/mock", response_format=Harbour)[0].choices[0].message.parsed
    equal(again, parsed, "the streamed object")


def vision(provider):
    picture = f"data:image/png;base64,{base64.b64encode(checks.png()).decode()}"
    content = [{"type": "text", "text": "what is this"}, {"type": "image_url", "image_url": {"url": picture}}]
    answer = ask(f"@{provider}/mock?words=20&log", [{"role": "user", "content": content}])
    contains(answer.choices[0].message.content, "what is this", "the question")
    if provider == "workers-ai":
        # It says nothing of what it saw.
        contains(checks.mock("/requests?last=1")["requests"][0]["body"], picture, "the picture")
        return
    contains(answer.choices[0].message.content, "image", f"{provider} says what it saw")


def reasoning(provider):
    if provider == "workers-ai":
        return
    answer = ask(f"@{provider}/mock?thinking=5", reasoning_effort="low", max_completion_tokens=4096)
    equal(answer.choices[0].message.content, ANSWER, f"{provider}: the answer without the thought")
    if provider not in ("bedrock", "cohere", "ollama"):
        # Those do not count the thought by itself.
        equal(answer.usage.completion_tokens_details.reasoning_tokens, 5, f"{provider}: tokens of the thought")


def embeddings(provider):
    if provider == "anthropic":
        call = lambda: client.embeddings.create(model=f"@{provider}/mock", input="harbour")
        error = raises(openai.BadRequestError, call, "no embeddings")
        contains(error.message, provider, "who has none")
        return
    model = f"@{provider}/{'amazon.titan-embed-text-v2:0' if provider == 'bedrock' else 'mock'}"
    words = ["harbour", "lantern", "harbour"]
    if provider == "bedrock":
        # Titan takes one text a call.
        words = words[:1]
    answer = client.embeddings.create(model=model, input=words)
    equal([entry.index for entry in answer.data], list(range(len(words))), "order")
    assert all(isinstance(number, float) for number in answer.data[0].embedding), "numbers"
    equal(answer.data[0].embedding, answer.data[-1].embedding, "same text, same vector")
    floats = client.embeddings.create(model=model, input=words, encoding_format="float")
    for one, other in zip(answer.data[0].embedding, floats.data[0].embedding, strict=True):
        assert abs(one - other) < 1e-6, f"{one} in base64, {other} as float"


def errors(provider):
    for status, kind in [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ]:
        for stream in (False, True):
            call = lambda: client.chat.completions.create(
                model=f"@{provider}/mock?status={status}", messages=QUESTION, stream=stream
            )
            error = raises(kind, call, f"{provider} {status}")
            equal(error.status_code, status, "status")
            contains(error.message, f"{provider} error: ", "who said it")
            assert error.request_id, f"a request id: {error.response.headers}"


def an_error_in_a_stream(provider):
    for fault in ["error-after=2", "abort=2000"]:
        pieces = []

        def read():
            stream = client.chat.completions.create(
                model=f"@{provider}/mock?chunks=60&{fault}", messages=QUESTION, stream=True
            )
            for chunk in stream:
                pieces.extend(choice.delta.content for choice in chunk.choices if choice.delta.content)

        error = raises(openai.APIError, read, f"{provider} {fault}")
        assert pieces, f"{provider} {fault}: the words before the error"
        words = "asks for this error in the stream" if fault == "error-after=2" else "broke off"
        contains(error.message, words, f"{provider} {fault}: what happened")


def retries(provider):
    model = f"mock-openai-sdk-{provider}?status=503&retry-after=1ms"
    again = client.with_options(max_retries=1)
    call = lambda: again.chat.completions.create(model=f"@{provider}/{model}", messages=QUESTION)
    raises(openai.InternalServerError, call, "a provider that always fails")
    equal(calls(model), 2, "calls at the provider")
    if provider != "bedrock":
        # The gateway waits a second, so one has to do.
        return
    config = {"provider": provider, "retry": {"attempts": 2, "on_status_codes": [503]}}
    headers = {"x-portkey-config": json.dumps(config)}
    answer = ask(f"mock-again-{provider}?status=503,200", extra_headers=headers)
    equal(calls(f"mock-again-{provider}?status=503,200"), 2, "calls at the provider")
    equal(answer.choices[0].finish_reason, "stop", "the second try")


def dropped_parameters(provider):
    """Whatever a provider does not take is told, or the request is refused, as the config wants it."""
    if provider == "openai":
        return
    more = dict(messages=QUESTION, logit_bias={"50256": -100})
    raw = client.chat.completions.with_raw_response.create(model=f"@{provider}/mock", **more)
    contains(raw.headers["x-pointsman-dropped-params"], "logit_bias", f"{provider} does not take it")
    config = json.dumps({"provider": provider, "unsupported_params": "reject"})
    call = lambda: client.chat.completions.create(model="mock", extra_headers={"x-portkey-config": config}, **more)
    error = raises(openai.BadRequestError, call, "a config that rejects")
    equal(error.param, "logit_bias", "the field")
    contains(error.message, provider, "the provider")


def responses(provider):
    answer = whole(client.responses.create(model=f"@{provider}/mock", input="where does the lantern hang"))
    equal((answer.object, answer.status), ("response", "completed"), f"{provider}: a response")
    equal(answer.output_text, ANSWER, "text")
    equal((answer.usage.input_tokens, answer.usage.output_tokens), (5, 7), "tokens")
    with client.responses.stream(model=f"@{provider}/mock", input="where does the lantern hang") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    equal((kinds[0], kinds[-1]), ("response.created", "response.completed"), "first and last event")
    equal(final.output_text, ANSWER, "the pieces together")
    assert kinds.count("response.output_text.delta") > 3, f"as they come: {kinds}"


def response_tools(provider):
    tool = {"type": "function", "name": "weather", "strict": True, "parameters": WEATHER["function"]["parameters"]}
    model = f"@{provider}/mock?tools=1"
    items = [{"role": "user", "content": "the weather in Oslo"}]
    first = whole(client.responses.create(model=model, input=items, tools=[tool]))
    called = [item for item in first.output if item.type == "function_call"]
    equal([call.name for call in called], ["weather"], f"{provider}: calls")
    equal(json.loads(called[0].arguments)["city"], "the weather in Oslo", "arguments")
    items += first.output
    items.append({"type": "function_call_output", "call_id": called[0].call_id, "output": "rain until noon"})
    last = client.responses.create(model=model, input=items, tools=[tool])
    contains(last.output_text, "rain until noon", "the answer")
    with client.responses.stream(model=model, input=items[:1], tools=[tool]) as stream:
        kinds = [event.type for event in stream]
        calls = [item for item in stream.get_final_response().output if item.type == "function_call"]
    assert "response.function_call_arguments.delta" in kinds, kinds
    equal(calls[0].arguments, called[0].arguments, "the streamed call")


def response_parsed(provider):
    answer = client.responses.parse(model=f"@{provider}/mock", input="harbour", text_format=Harbour)
    assert isinstance(answer.output_parsed, Harbour), answer


for provider in PROVIDERS:
    for check in [
        chat,
        stream,
        endings,
        tools,
        tool_choices,
        structured_output,
        vision,
        reasoning,
        embeddings,
        errors,
        an_error_in_a_stream,
        retries,
        dropped_parameters,
        responses,
        response_tools,
        response_parsed,
    ]:
        checks.did(check, provider)
checks.end()
