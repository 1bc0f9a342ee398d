"""LangChain's ChatOpenAI and ChatAnthropic, unmodified, with providers of other formats behind them."""

import base64

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

import checks
from checks import contains, equal

ANSWER = "mock heard: where does the lantern hang"
QUESTION = [SystemMessage("be brief"), HumanMessage("where does the lantern hang")]


def by_openai(model, **more):
    return ChatOpenAI(model=model, base_url=f"{checks.HTTP}/v1", api_key="unused", max_retries=0, **more)


def by_anthropic(model, **more):
    return ChatAnthropic(model=model, base_url=checks.HTTP, api_key="unused", max_retries=0, max_tokens=200, **more)


# The dialect of the caller, the provider, and the class of an error.
WAYS = {
    "openai to openai": (by_openai, "openai", openai.RateLimitError),
    "openai to anthropic": (by_openai, "anthropic", openai.RateLimitError),
    "openai to google": (by_openai, "google", openai.RateLimitError),
    "anthropic to anthropic": (by_anthropic, "anthropic", anthropic.RateLimitError),
    "anthropic to openai": (by_anthropic, "openai", anthropic.RateLimitError),
    "anthropic to bedrock": (by_anthropic, "bedrock", anthropic.RateLimitError),
}


def chat(way):
    new, provider, _ = WAYS[way]
    answer = new(f"@{provider}/mock").invoke(QUESTION)
    equal(answer.text, ANSWER, way)
    equal((answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]), (7, 7), "tokens")


def stream(way):
    new, provider, _ = WAYS[way]
    more = {"stream_usage": True} if new is by_openai else {}
    pieces = list(new(f"@{provider}/mock", **more).stream(QUESTION))
    equal("".join(piece.text for piece in pieces), ANSWER, "the pieces together")
    assert sum(1 for piece in pieces if piece.text) > 3, f"as they come: {pieces}"
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    equal(whole.usage_metadata["total_tokens"], 14, f"{way}: tokens of a stream")


@tool
def weather(city: str, days: int) -> str:
    """The weather in a city."""
    return f"rain in {city} for {days} days"


def tools(way):
    new, provider, _ = WAYS[way]
    model = new(f"@{provider}/mock?tools=1").bind_tools([weather])
    turns = [HumanMessage("Oslo")]
    first = model.invoke(turns)
    equal([(call["name"], call["args"]) for call in first.tool_calls], [("weather", {"city": "Oslo", "days": 1})], way)
    turns += [first, weather.invoke(first.tool_calls[0])]
    assert isinstance(turns[-1], ToolMessage), turns
    contains(model.invoke(turns).text, "rain in Oslo for 1 days", "the result was heard")
    whole = None
    for piece in model.stream(turns[:1]):
        whole = piece if whole is None else whole + piece
    equal(whole.tool_calls[0]["args"], {"city": "Oslo", "days": 1}, f"{way}: the streamed call")


class Harbour(BaseModel):
    """A harbour."""

    name: str
    open: bool


def structured_output(way):
    new, provider, _ = WAYS[way]
    for method in ["json_schema", "function_calling"]:
        answer = new(f"@{provider}/mock").with_structured_output(Harbour, method=method).invoke("the harbour")
        assert isinstance(answer, Harbour), f"{way} {method}: {answer}"


def vision(way):
    new, provider, _ = WAYS[way]
    picture = {"type": "image", "base64": base64.b64encode(checks.png()).decode(), "mime_type": "image/png"}
    answer = new(f"@{provider}/mock").invoke([HumanMessage([{"type": "text", "text": "what is this"}, picture])])
    contains(answer.text, "image", f"{way}: what was seen")


def errors(way):
    new, provider, kind = WAYS[way]
    try:
        answer = new(f"@{provider}/mock?status=429").invoke(QUESTION)
    except kind as error:
        # LangChain's own class is one of the client's as well.
        contains(str(error), f"{provider} error: ", "who said it")
    else:
        raise AssertionError(f"{way}: answered {answer!r}")


def embeddings():
    for provider in ["openai", "google", "cohere"]:
        model = OpenAIEmbeddings(
            model=f"@{provider}/mock", base_url=f"{checks.HTTP}/v1", api_key="unused", check_embedding_ctx_length=False
        )
        vectors = model.embed_documents(["harbour", "lantern", "harbour"])
        equal(vectors[0], vectors[2], f"{provider}: same text, same vector")
        assert vectors[0] != vectors[1], "another text, another vector"


def responses():
    model = by_openai("@anthropic/mock", use_responses_api=True)
    equal(model.invoke(QUESTION).text, ANSWER, "a response")
    equal("".join(piece.text for piece in model.stream(QUESTION)), ANSWER, "a streamed response")


for way in WAYS:
    for check in [chat, stream, tools, structured_output, vision, errors]:
        checks.did(check, way)
checks.did(embeddings)
checks.did(responses)
checks.end()
