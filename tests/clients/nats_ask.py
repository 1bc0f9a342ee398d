"""nats-py and the request-reply door: one question, one answer or a stream of them; discovery as for any service."""

import asyncio
import json

import nats

import checks
from checks import contains, equal


def chat(text, model="mock", **more):
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()


async def one_answer(connection):
    answer = await connection.request("llm.ask.chat", chat("where is the harbour"), timeout=20)
    equal(answer.headers["Pointsman-Status"], "200", "status")
    contains(json.loads(answer.data)["choices"][0]["message"]["content"], "where is the harbour", "content")
    for operation, body in [("completions", {"prompt": "once"}), ("embeddings", {"input": "once"})]:
        body = json.dumps({"model": "mock"} | body).encode()
        answer = await connection.request(f"llm.ask.{operation}", body, timeout=20)
        equal(answer.headers["Pointsman-Status"], "200", operation)


async def ask_streamed(connection, payload, headers=None):
    """The messages of one answer, in order, until the one that says it is the last."""
    inbox = connection.new_inbox()
    subscription = await connection.subscribe(inbox)
    await connection.publish("llm.ask.chat", payload, reply=inbox, headers=headers)
    messages = []
    while True:
        message = await subscription.next_msg(timeout=20)
        messages.append(message)
        if message.headers.get("Pointsman-Final") == "true":
            break
    await subscription.unsubscribe()
    equal([int(m.headers["Pointsman-Seq"]) for m in messages], list(range(len(messages))), "numbers of the messages")
    return messages


def events(messages):
    text = b"".join(message.data for message in messages).decode()
    return [event.removeprefix("data: ") for event in text.split("\n\n") if event]


async def many_answers(connection):
    whole = await connection.request("llm.ask.chat", chat("where is the harbour"), timeout=20)
    messages = await ask_streamed(connection, chat("where is the harbour", "mock?gap=5ms", stream=True))
    assert len(messages) > 3, f"pieces as they come, but found {len(messages)} messages"
    equal(messages[0].headers["Content-Type"].split(";")[0], "text/event-stream", "content type of the first")
    equal(messages[0].headers["Pointsman-Status"], "200", "status of the first")
    equal((messages[-1].data, messages[-1].headers["Pointsman-Outcome"]), (b"", "answered"), "the last")
    found = events(messages)
    equal(found[-1], "[DONE]", "end of the stream")
    pieces = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in found[:-1]]
    contains(json.loads(whole.data)["choices"][0]["message"]["content"], "heard: where is the harbour", "whole")
    contains("".join(pieces), "heard: where is the harbour", "the pieces together")


async def a_stream_that_breaks_off(connection):
    messages = await ask_streamed(connection, chat("break", "mock?chunks=20&abort=1200", stream=True))
    last_event = json.loads(events(messages)[-1])
    assert last_event["error"]["message"], f"the last event says what happened: {last_event}"
    pieces = [json.loads(event) for event in events(messages)[:-1]]
    assert any(piece["choices"][0]["delta"].get("content") for piece in pieces), "what came before is kept"


async def errors(connection):
    for subject, payload, status in [
        ("llm.ask.chat", b"{oops", "400"),
        ("llm.ask.chat", b"", "400"),
        ("llm.ask.juggling", chat("hello"), "400"),
        ("llm.ask.chat", chat("hello", "mock?status=429"), "429"),
        ("llm.ask.chat", chat("hello", "mock?what=ever"), "400"),
    ]:
        answer = await connection.request(subject, payload, timeout=20)
        equal(answer.headers["Pointsman-Status"], status, f"{subject} {payload!r}: {answer.data!r}")
        equal(answer.headers["Nats-Service-Error-Code"], status, "the way NATS services say it")
        assert answer.headers["Nats-Service-Error"], "a text for people"
        assert json.loads(answer.data)["error"]["message"], "OpenAI's shape"


async def a_large_answer(connection):
    """More than a message holds: the parts together are the answer."""
    messages = await ask_streamed(connection, chat("at length", "mock?size=3MB"))
    assert len(messages) > 3, f"{len(messages)} parts"
    body = json.loads(b"".join(message.data for message in messages))
    assert len(body["choices"][0]["message"]["content"]) >= 3_000_000, "all of it"


async def discovery(connection):
    for verb in ["PING", "INFO", "STATS"]:
        answer = json.loads((await connection.request(f"$SRV.{verb}.pointsman", b"", timeout=20)).data)
        equal((answer["name"], answer["type"].split(".")[-1]), ("pointsman", f"{verb.lower()}_response"), verb)
    equal(answer["endpoints"][0]["name"], "ask", "the endpoint")
    assert answer["endpoints"][0]["num_requests"] > 5, f"questions so far: {answer['endpoints'][0]}"


async def at_once(connection):
    async def one(number):
        answer = await connection.request("llm.ask.chat", chat(f"number {number} please"), timeout=30)
        contains(answer.data.decode(), f"number {number} please", "the answer to one's own question")

    await asyncio.gather(*(one(number) for number in range(100)))


async def main():
    connection = await nats.connect(checks.NATS)
    await one_answer(connection)
    await many_answers(connection)
    await a_stream_that_breaks_off(connection)
    await errors(connection)
    await a_large_answer(connection)
    await at_once(connection)
    await discovery(connection)
    await connection.drain()


asyncio.run(main())
