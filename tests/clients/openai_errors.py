"""The official OpenAI client and everything that goes wrong: the right class, with message, param and code."""

import json

import openai
from openai import OpenAI

import checks
from checks import contains, equal, raises

client = OpenAI(base_url=f"{checks.HTTP}/v1", api_key="unused", max_retries=0)
QUESTION = [{"role": "user", "content": "hello"}]


def ask(model="mock", messages=QUESTION, **more):
    return client.chat.completions.create(model=model, messages=messages, **more)


def with_headers(**headers):
    return lambda: ask(extra_headers={name.replace("_", "-"): value for name, value in headers.items()})


def bad_requests():
    """Each names the field and says what to write instead."""
    cases = [
        ("messages that are no array", lambda: ask(messages="hello"), "messages", "array"),
        ("no messages", lambda: ask(extra_body={"messages": None}), "messages", "messages"),
        ("no model", lambda: ask(extra_body={"model": None}), "model", "model"),
        ("a header that is not JSON", with_headers(x_portkey_config="{oops"), None, "JSON"),
        ("no such stored config", with_headers(x_portkey_config="pc-123"), "pointsman-config", "has no config `pc-123`"),
        ("no targets", with_headers(x_portkey_config='{"strategy":{"mode":"fallback"},"targets":[]}'), None, "targets"),
        ("an unknown provider", with_headers(x_portkey_provider="no-such"), None, "no-such"),
        ("a bad duration", with_headers(Pointsman_Timeout="soon"), "Pointsman-Timeout", "soon"),
        ("a past deadline", with_headers(Pointsman_Deadline="2001-01-01T00:00:00Z"), "Pointsman-Deadline", "deadline"),
    ]
    for what, call, param, part in cases:
        error = raises(openai.BadRequestError, call, what)
        equal(error.status_code, 400, what)
        equal(error.type, "invalid_request_error", what)
        assert error.code, f"{what}: a code for scripts, but found {error.body!r}"
        contains(error.message, part, what)
        if param is not None:
            equal(str(error.param).lower(), param.lower(), what)


def statuses_of_the_provider():
    """The provider's own refusal arrives as it was, with its status."""
    for status, kind in [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ]:
        error = raises(kind, lambda status=status: ask(model=f"mock?status={status}"), f"status {status}")
        equal(error.status_code, status, "status")
        assert error.body and error.body["message"], f"{status} has a message: {error.body!r}"


def rate_limit_says_when_to_come_back():
    error = raises(openai.RateLimitError, lambda: ask(model="mock?status=429&retry-after=7"), "too fast")
    equal(error.response.headers["retry-after"], "7", "the provider's own wait")


def the_clients_own_retry_works():
    """The client tries again as it always does: a new request each time, answered by the provider's new failure."""
    model = "mock-retried?status=500&retry-after=1ms"
    again = client.with_options(max_retries=2)
    call = lambda: again.chat.completions.create(model=model, messages=QUESTION)
    raises(openai.InternalServerError, call, "a provider that always fails")
    equal(checks.calls(model), 3, "calls at the provider")


def unknown_paths():
    elsewhere = client.with_options(base_url=str(client.base_url).replace("/v1", "/v2"))
    error = raises(openai.NotFoundError, lambda: elsewhere.moderations.create(input="hello"), "a path we have not")
    equal(error.code, "unknown_path", "code")
    contains(error.message, "/v1/chat/completions", "the message lists what there is")


def a_stream_that_breaks_off_raises():
    """Chunks that came are kept, and the break is an error, not a quiet end."""
    pieces = []

    def read():
        for chunk in ask(model="mock?chunks=20&abort=1200", stream=True):
            pieces.append(chunk)

    error = raises(openai.APIError, read, "an answer that breaks off")
    assert len(pieces) >= 2, f"chunks before the break: {pieces}"
    assert error.message and error.code, f"message and code of {error.body!r}"


def an_error_instead_of_a_stream():
    """Before the first chunk there is still a status to say it with."""
    error = raises(openai.InternalServerError, lambda: ask(model="mock?status=500", stream=True), "a failed stream")
    equal(error.status_code, 500, "status")


def timeouts():
    """The client's own patience, and the config's limit for the provider."""
    impatient = client.with_options(timeout=0.5)
    call = lambda: impatient.chat.completions.create(model="mock?hang=headers", messages=QUESTION)
    raises(openai.APITimeoutError, call, "a client that does not wait")
    config = json.dumps({"provider": "mock", "request_timeout": 200})
    slow = lambda: ask(model="mock?hang=headers", extra_headers={"x-portkey-config": config})
    error = raises(openai.APIStatusError, slow, "a slow provider")
    equal(error.status_code, 408, "status")
    overdue = lambda: ask(model="mock?hang=headers", extra_headers={"Pointsman-Timeout": "300ms"})
    error = raises(openai.InternalServerError, overdue, "a request that is overdue")
    equal((error.status_code, error.code), (504, "deadline_exceeded"), "an overdue request")


bad_requests()
statuses_of_the_provider()
rate_limit_says_when_to_come_back()
the_clients_own_retry_works()
unknown_paths()
a_stream_that_breaks_off_raises()
an_error_instead_of_a_stream()
timeouts()
