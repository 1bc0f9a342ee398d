"""The official OpenAI client in its asynchronous form: many questions at once over one connection pool."""

import asyncio

import openai
from openai import AsyncOpenAI

import checks
from checks import contains, equal


def question(text):
    return [{"role": "user", "content": text}]


async def at_once(client):
    """Every caller gets the answer to its own question."""

    async def one(number):
        answer = await client.chat.completions.create(model="mock", messages=question(f"number {number} please"))
        contains(answer.choices[0].message.content, f"number {number} please", "the echo of one's own question")

    await asyncio.gather(*(one(number) for number in range(60)))


async def streams_at_once(client):
    async def one(number):
        stream = await client.chat.completions.create(
            model="mock?chunks=12&gap=5ms", messages=question(f"stream {number} please"), stream=True
        )
        text = ""
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
        contains(text, f"stream {number} please", "the echo of one's own question")

    await asyncio.gather(*(one(number) for number in range(20)))


async def a_slow_answer_holds_up_nobody(client):
    """Order, not time: the quick one ends while the hanging one is still under way."""
    hanging = asyncio.create_task(
        client.chat.completions.create(model="mock?hang=headers", messages=question("wait for ever"))
    )
    quick = await client.chat.completions.create(model="mock", messages=question("be quick"))
    contains(quick.choices[0].message.content, "be quick", "content")
    assert not hanging.done(), f"the hanging one ended: {hanging}"
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)


async def embeddings(client):
    answer = await client.embeddings.create(model="mock", input=["a", "b"])
    equal(len(answer.data), 2, "embeddings")


async def errors(client):
    try:
        await client.chat.completions.create(model="mock?status=401", messages=question("let me in"))
    except openai.AuthenticationError as error:
        equal(error.status_code, 401, "status")
    else:
        raise AssertionError("a provider's 401 must reach the caller")


async def main():
    async with AsyncOpenAI(base_url=f"{checks.HTTP}/v1", api_key="unused", max_retries=0) as client:
        await at_once(client)
        await streams_at_once(client)
        await a_slow_answer_holds_up_nobody(client)
        await embeddings(client)
        await errors(client)


asyncio.run(main())
