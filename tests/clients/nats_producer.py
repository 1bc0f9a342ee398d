"""nats-py as a producer: publish a request, get the answer on a subject of one's own, never twice."""

import asyncio
import json
import uuid

import nats

import checks
from checks import contains, equal


def chat(text, model="mock", **more):
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()


class Inbox:
    """A subject of the producer's own."""

    def __init__(self, subscription, subject):
        self.subscription, self.subject = subscription, subject

    async def next(self):
        return await self.subscription.next_msg(timeout=20)

    async def expect_nothing_more(self, connection, stream):
        """A later request is answered on another subject, and in the time that takes nothing more has come here."""
        later = await inbox(connection)
        await stream.publish("llm.request.chat", chat("later"), headers={"Pointsman-Reply-To": later.subject})
        await later.next()
        await connection.flush()
        waiting = self.subscription.pending_msgs
        equal(waiting, 0, "answers too many")


async def inbox(connection):
    subject = f"answers.{uuid.uuid4().hex}"
    return Inbox(await connection.subscribe(subject), subject)


async def publish_and_be_answered(connection, stream):
    answers = await inbox(connection)
    for operation, body, part in [
        ("chat", chat("where is the harbour"), "where is the harbour"),
        ("chat.bulk", chat("no hurry at all"), "no hurry at all"),
        ("chat.interactive", chat("somebody waits"), "somebody waits"),
        ("completions", json.dumps({"model": "mock", "prompt": "once upon a time"}).encode(), "once upon a time"),
        ("embeddings", json.dumps({"model": "mock", "input": ["a", "b"]}).encode(), '"embedding"'),
    ]:
        stored = await stream.publish(f"llm.request.{operation}", body, headers={"Pointsman-Reply-To": answers.subject})
        equal(stored.stream, "LLM_REQUEST", "the stream that keeps it")
        answer = await answers.next()
        contains(answer.data.decode(), part, operation)
        equal(answer.headers["Pointsman-Status"], "200", operation)
        equal(answer.headers["Pointsman-Outcome"], "answered", operation)
        equal(answer.headers["Pointsman-Attempts"], "1", operation)
        assert answer.headers["Pointsman-Request-Id"], "an id to ask for the request by"


async def the_producer_chooses_the_id(connection, stream):
    answers = await inbox(connection)
    chosen = uuid.uuid4().hex
    headers = {"Pointsman-Reply-To": answers.subject, "Pointsman-Request-Id": chosen}
    await stream.publish("llm.request.chat", chat("by name"), headers=headers)
    equal((await answers.next()).headers["Pointsman-Request-Id"], chosen, "request id")


async def the_same_message_id_is_taken_once(connection, stream):
    """A producer that is not sure publishes again; the broker keeps one, so the provider is called once."""
    answers = await inbox(connection)
    model = f"mock-{uuid.uuid4().hex}"
    headers = {"Pointsman-Reply-To": answers.subject, "Nats-Msg-Id": uuid.uuid4().hex}
    first = await stream.publish("llm.request.chat", chat("once", model), headers=headers)
    second = await stream.publish("llm.request.chat", chat("once", model), headers=headers)
    equal((bool(first.duplicate), bool(second.duplicate)), (False, True), "what the broker says")
    equal(first.seq, second.seq, "the message that is kept")
    equal((await answers.next()).headers["Pointsman-Status"], "200", "status")
    await answers.expect_nothing_more(connection, stream)
    equal(checks.calls(model), 1, "calls at the provider")


async def the_same_request_id_is_answered_twice_but_called_once(connection, stream):
    """Long after the broker forgot the message id, the request id still leads to the answer there was."""
    answers = await inbox(connection)
    model = f"mock-{uuid.uuid4().hex}"
    headers = {"Pointsman-Reply-To": answers.subject, "Pointsman-Request-Id": uuid.uuid4().hex}
    bodies = []
    for _ in range(2):
        await stream.publish("llm.request.chat", chat("again", model), headers=headers)
        bodies.append((await answers.next()).data)
    equal(bodies[0], bodies[1], "both answers")
    equal(checks.calls(model), 1, "calls at the provider")


async def config_in_a_header(connection, stream):
    answers = await inbox(connection)
    config = {
        "strategy": {"mode": "fallback"},
        "targets": [
            {"provider": "mock", "override_params": {"model": "mock?status=500"}},
            {"provider": "mock", "override_params": {"model": "mock-backup"}},
        ],
    }
    headers = {"Pointsman-Reply-To": answers.subject, "Pointsman-Config": json.dumps(config)}
    await stream.publish("llm.request.chat", chat("fall back", "whatever"), headers=headers)
    answer = await answers.next()
    equal((answer.headers["Pointsman-Status"], answer.headers["Pointsman-Attempts"]), ("200", "2"), "fallback")
    equal(json.loads(answer.data)["model"], "mock-backup", "who answered")


async def failures_are_answered_too(connection, stream):
    answers = await inbox(connection)
    reply = {"Pointsman-Reply-To": answers.subject}
    cases = [
        ("chat", b"{oops", {}, "400", "invalid_request_error"),
        ("chat", b"\xff\xfe", {}, "400", "invalid_request_error"),
        ("chat", json.dumps({"model": "mock", "messages": "hello"}).encode(), {}, "400", "messages"),
        ("chat", json.dumps({"messages": []}).encode(), {}, "400", "invalid_request_error"),
        ("juggling", chat("hello"), {}, "400", "juggling"),
        ("chat", chat("hello"), {"Pointsman-Config": "{oops"}, "400", "JSON"),
        ("chat", chat("hello"), {"Pointsman-Deadline": "2001-01-01T00:00:00Z"}, "400", "deadline"),
        ("chat", chat("hello"), {"Authorization": "Bearer sk-secret"}, "400", "credential"),
        ("chat", chat("hello", "mock?status=503"), {}, "503", "error"),
    ]
    for operation, body, headers, status, part in cases:
        await stream.publish(f"llm.request.{operation}", body, headers=reply | headers)
        answer = await answers.next()
        equal(answer.headers["Pointsman-Status"], status, f"{operation} {body[:60]!r} {headers}: {answer.data!r}")
        equal(answer.headers["Pointsman-Outcome"], "refused", "outcome")
        error = json.loads(answer.data)["error"]
        contains(json.dumps(error), part, f"{operation} {body[:60]!r} {headers}")
        assert error["message"], "a message for people"
    await answers.expect_nothing_more(connection, stream)


async def many_at_once(connection, stream):
    """Every request published is answered exactly once."""
    answers = await inbox(connection)
    wanted = {f"burst{number}" for number in range(300)}
    for name in wanted:
        headers = {"Pointsman-Reply-To": answers.subject, "Pointsman-Request-Id": name}
        await stream.publish("llm.request.chat", chat(name), headers=headers)
    found = [await answers.next() for _ in wanted]
    equal({message.headers["Pointsman-Request-Id"] for message in found}, wanted, "requests answered")
    await answers.expect_nothing_more(connection, stream)


async def main():
    connection = await nats.connect(checks.NATS)
    stream = connection.jetstream()
    await publish_and_be_answered(connection, stream)
    await the_producer_chooses_the_id(connection, stream)
    await the_same_message_id_is_taken_once(connection, stream)
    await the_same_request_id_is_answered_twice_but_called_once(connection, stream)
    await config_in_a_header(connection, stream)
    await failures_are_answered_too(connection, stream)
    await many_at_once(connection, stream)
    await connection.drain()


asyncio.run(main())
