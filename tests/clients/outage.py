"""Claude through the OpenAI client and GPT through the Anthropic client, each falling back to the other in an outage."""

import json

import anthropic
import openai

import checks
from checks import attempts, contains, equal

QUESTION = [{"role": "user", "content": "where does the lantern hang"}]
ANSWER = "heard: where does the lantern hang"

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

OUTAGES = {
    "a refusal": "status=503",
    "no answer at all": "abort=0",
    "a stream that breaks off before its first event": "abort=30",
    "an error with a status that says all is well": "error-body",
}


def falling_back(first, script, then):
    """A config: the first provider, as the script has it, then the other."""
    target = lambda provider, model: {"provider": provider, "override_params": {"model": model}}
    targets = [target(first, f"{first}-out?{script}"), target(then, f"{then}-spare")]
    return {"x-portkey-config": json.dumps({"strategy": {"mode": "fallback"}, "targets": targets})}


def on_record(headers, first, script, then, what):
    found = attempts(headers["pointsman-request-id"])
    equal([attempt[0] for attempt in found], [first, then], f"{what}: who was asked")
    equal([attempt[2] for attempt in found], [f"{first}-out?{script}", f"{then}-spare"], f"{what}: for which model")
    assert found[0][1] != 200, f"{what}: the first failed: {found}"
    equal(found[1][1], 200, f"{what}: the second did not")
    equal(headers["x-portkey-last-used-option-index"], "config.targets[1]", f"{what}: who answered")


def claude_then_gpt():
    """The caller speaks OpenAI's dialect; the provider that is out speaks Anthropic's."""
    client = openai.OpenAI(base_url=f"{checks.HTTP}/v1", api_key="unused", max_retries=0)
    for what, script in OUTAGES.items():
        headers = falling_back("anthropic", script, "openai")
        raw = client.chat.completions.with_raw_response.create(model="any", messages=QUESTION, extra_headers=headers)
        equal(raw.parse().choices[0].message.content, f"openai-spare {ANSWER}", what)
        on_record(raw.headers, "anthropic", script, "openai", what)
        raw = client.chat.completions.with_raw_response.create(
            model="any", messages=QUESTION, extra_headers=headers, stream=True
        )
        chunks = list(raw.parse())
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        equal(text, f"openai-spare {ANSWER}", f"{what}, streamed")
        equal({chunk.model for chunk in chunks}, {"openai-spare"}, f"{what}: one answer, of one provider")
        on_record(raw.headers, "anthropic", script, "openai", f"{what}, streamed")


def gpt_then_claude():
    """The caller speaks Anthropic's dialect; the provider that is out speaks OpenAI's."""
    client = anthropic.Anthropic(base_url=checks.HTTP, api_key="unused", max_retries=0)
    for what, script in OUTAGES.items():
        headers = falling_back("openai", script, "anthropic")
        raw = client.messages.with_raw_response.create(
            model="any", max_tokens=99, messages=QUESTION, extra_headers=headers
        )
        equal(raw.parse().content[0].text, f"anthropic-spare {ANSWER}", what)
        on_record(raw.headers, "openai", script, "anthropic", what)
        with client.messages.stream(model="any", max_tokens=99, messages=QUESTION, extra_headers=headers) as stream:
            events = list(stream)
            answer = stream.get_final_message()
        equal(answer.content[0].text, f"anthropic-spare {ANSWER}", f"{what}, streamed")
        equal([event.type for event in events].count("message_start"), 1, f"{what}: one answer")
        on_record(stream.response.headers, "openai", script, "anthropic", f"{what}, streamed")


def a_conversation_goes_on_elsewhere():
    """A tool is called by one provider, and the other, in the same outage, is told the result."""
    client = openai.OpenAI(base_url=f"{checks.HTTP}/v1", api_key="unused", max_retries=0)
    tool = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
    question = [{"role": "user", "content": "the weather in Oslo"}]
    first = client.chat.completions.create(model="@anthropic/claude?tools=1&thinking=4", messages=question, tools=[tool])
    call = first.choices[0].message.tool_calls[0]
    turns = question + [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "rain until noon"}]
    headers = falling_back("anthropic", "status=529", "openai")
    last = client.chat.completions.create(model="any", messages=turns, tools=[tool], extra_headers=headers)
    contains(last.choices[0].message.content, "rain until noon", "the other provider heard the result")

    other = anthropic.Anthropic(base_url=checks.HTTP, api_key="unused", max_retries=0)
    tool = {"name": "weather", "input_schema": WEATHER}
    first = other.messages.create(model="@openai/gpt?tools=1", max_tokens=99, messages=question, tools=[tool])
    result = {"type": "tool_result", "tool_use_id": first.content[0].id, "content": "rain until noon"}
    turns = question + [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    headers = falling_back("openai", "status=500", "anthropic")
    last = other.messages.create(model="any", max_tokens=99, messages=turns, tools=[tool], extra_headers=headers)
    contains(last.content[0].text, "rain until noon", "the other provider heard the result")


checks.did(claude_then_gpt)
checks.did(gpt_then_claude)
checks.did(a_conversation_goes_on_elsewhere)
checks.end()
