"""The official OpenAI client, unmodified: answers of every kind."""

import base64
import struct

import openai
from openai import OpenAI

import checks
from checks import contains, equal

client = OpenAI(base_url=f"{checks.HTTP}/v1", api_key="unused", max_retries=0)
QUESTION = [{"role": "user", "content": "where does the lantern hang"}]


def chat():
    answer = client.chat.completions.create(model="mock", messages=QUESTION)
    equal(answer.object, "chat.completion", "object")
    equal(answer.model, "mock", "model")
    choice = answer.choices[0]
    equal((choice.message.role, choice.finish_reason), ("assistant", "stop"), "choice")
    contains(choice.message.content, "where does the lantern hang", "the mock echoes the question")
    equal(answer.usage.prompt_tokens, 5, "tokens read")
    equal(answer.usage.total_tokens, 5 + answer.usage.completion_tokens, "tokens in all")
    return choice.message.content


def cut_by_max_tokens():
    answer = client.chat.completions.create(model="mock?words=40", messages=QUESTION, max_completion_tokens=7)
    equal((answer.choices[0].finish_reason, answer.usage.completion_tokens), ("length", 7), "a cut answer")


def several_choices():
    answer = client.chat.completions.create(model="mock", messages=QUESTION, n=3)
    equal([choice.index for choice in answer.choices], [0, 1, 2], "choices")


def unknown_fields_pass():
    answer = client.chat.completions.create(
        model="mock", messages=QUESTION, temperature=0.3, seed=7, user="somebody", extra_body={"new_field": {"a": [1]}}
    )
    contains(answer.choices[0].message.content, "lantern", "content")


def streamed(whole):
    """Chunks come one by one, add up to the answer that is not streamed, and end with the token counts."""
    stream = client.chat.completions.create(
        model="mock", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    equal({chunk.object for chunk in chunks}, {"chat.completion.chunk"}, "object")
    equal(len({chunk.id for chunk in chunks}), 1, "ids of one stream")
    equal(chunks[0].choices[0].delta.role, "assistant", "role of the first chunk")
    pieces = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    equal("".join(pieces), whole, "the pieces together")
    assert sum(1 for piece in pieces if piece) > 3, f"one word a chunk: {pieces}"
    equal(chunks[-2].choices[0].finish_reason, "stop", "finish reason")
    equal((chunks[-1].choices, chunks[-1].usage.prompt_tokens), ([], 5), "usage chunk")


def streamed_as_it_comes():
    """The first chunks are here while the provider still hangs: nothing waits for the end."""
    stream = client.chat.completions.create(
        model="mock?chunks=9&hang=stream&hang-after=3", messages=QUESTION, stream=True
    )
    pieces = []
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            pieces.append(chunk.choices[0].delta.content)
        if len(pieces) == 3:
            break
    stream.close()
    equal(len(pieces), 3, "chunks before the hang")


def stream_helper():
    with client.chat.completions.stream(model="mock", messages=QUESTION) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds, f"events of the helper: {kinds}"
    contains(final.choices[0].message.content, "lantern", "final completion")


def completions():
    answer = client.completions.create(model="mock", prompt="tell me of the harbour")
    equal(answer.object, "text_completion", "object")
    contains(answer.choices[0].text, "tell me of the harbour", "text")
    stream = client.completions.create(model="mock", prompt="tell me of the harbour", stream=True)
    text = "".join(choice.text for chunk in stream for choice in chunk.choices)
    equal(text, answer.choices[0].text, "the streamed text")


def embeddings():
    """The client asks for base64 by itself and decodes it; floats on request are the same vectors."""
    words = ["harbour", "lantern", "harbour"]
    answer = client.embeddings.create(model="mock", input=words)
    equal([entry.index for entry in answer.data], [0, 1, 2], "order")
    equal({len(entry.embedding) for entry in answer.data}, {16}, "dimensions")
    equal(answer.data[0].embedding, answer.data[2].embedding, "same text, same vector")
    assert answer.data[0].embedding != answer.data[1].embedding, "another text, another vector"
    length = sum(x * x for x in answer.data[0].embedding)
    assert abs(length - 1) < 1e-3, f"a unit vector, but its square is {length}"
    floats = client.embeddings.create(model="mock", input=words, encoding_format="float")
    for one, other in zip(answer.data[0].embedding, floats.data[0].embedding, strict=True):
        assert abs(one - other) < 1e-6, f"{one} in base64, {other} as float"
    raw = client.embeddings.create(model="mock", input="harbour", encoding_format="base64", dimensions=4)
    equal(len(struct.unpack("<4f", base64.b64decode(raw.data[0].embedding))), 4, "dimensions asked for")


def many_embeddings():
    """An answer far above what one message holds."""
    answer = client.embeddings.create(model="mock?dimensions=256", input=[f"text {n}" for n in range(2048)])
    equal((len(answer.data), answer.data[2047].index, len(answer.data[7].embedding)), (2048, 2047, 256), "embeddings")
    equal(answer.usage.prompt_tokens, 4096, "tokens")


def models():
    listed = client.models.list()
    equal(listed.object, "list", "object")
    for model in listed.data:
        equal(client.models.retrieve(model.id).id, model.id, "a listed model")
    error = checks.raises(openai.NotFoundError, lambda: client.models.retrieve("no/such-model"), "an unknown model")
    equal((error.status_code, error.code, error.param), (404, "model_not_found", "model"), "an unknown model")
    contains(error.message, "no/such-model", "the message names it")


def headers_say_which_way_it_went():
    raw = client.chat.completions.with_raw_response.create(
        model="mock?status=503,200", messages=QUESTION, extra_headers={"x-portkey-config": RETRYING}
    )
    equal(raw.headers["x-portkey-last-used-option-index"], "config", "place in the config")
    equal(raw.headers["x-portkey-provider"], "mock", "provider")
    equal(raw.headers["x-portkey-retry-attempt-count"], "1", "retries")
    equal(raw.headers["x-portkey-cache-status"], "DISABLED", "cache status")
    assert raw.headers["x-portkey-trace-id"], "a trace id"
    equal(raw.headers["x-request-id"], raw.headers["pointsman-request-id"], "request id")
    equal(raw.parse()._request_id, raw.headers["x-request-id"], "request id as the client sees it")
    with client.chat.completions.with_streaming_response.create(
        model="mock", messages=QUESTION, stream=True, extra_headers={"x-portkey-trace-id": "mine"}
    ) as response:
        equal(response.headers["content-type"].split(";")[0], "text/event-stream", "content type")
        equal(response.headers["x-portkey-last-used-option-index"], "config", "place in the config")
        equal(response.headers["x-portkey-trace-id"], "mine", "trace id of the caller")
        equal(list(response.iter_lines())[-2:], ["data: [DONE]", ""], "end of the stream")


RETRYING = '{"provider":"mock","retry":{"attempts":2,"on_status_codes":[503]}}'

whole = chat()
cut_by_max_tokens()
several_choices()
unknown_fields_pass()
streamed(whole)
streamed_as_it_comes()
stream_helper()
completions()
embeddings()
many_embeddings()
models()
headers_say_which_way_it_went()
