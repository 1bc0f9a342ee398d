"""The official SDKs read a stored answer whole and as a stream, and see the same.

The folder has pairs of files, `<case>.<operation>.json` and `<case>.<operation>.sse`; no gateway is involved."""

import json
import os
import pathlib
import warnings

import anthropic
import httpx2
import openai

# SDKs warn of members that their types lack, as providers add them.
warnings.simplefilter("ignore")

FOLDER = pathlib.Path(os.environ["POINTSMAN_STORED_FORMS"])
# What SDKs add on their side: places of calls, and what is parsed.
ADDED = {"index", "parsed", "parsed_arguments", "parsed_output"}
NOT_ADDED = {"content_blocks", "reasoning_details", "input", "citations", "annotations"}


def bare(value, name=None):
    """A value without members that are null, and without what SDKs add."""
    if isinstance(value, dict):
        added = set() if name in NOT_ADDED else ADDED - ({"index"} if "finish_reason" in value else set())
        return {key: bare(one, key) for key, one in value.items() if one is not None and key not in added}
    if isinstance(value, list):
        return [bare(one, name) for one in value]
    return value


def seen(answer):
    return bare(answer.to_dict())


class Stored(httpx2.BaseTransport):
    """Answers every request from the files: as a stream if that is asked for."""

    def __init__(self, whole, stream):
        self.whole, self.stream = whole, stream

    def handle_request(self, request):
        streams = json.loads(request.read()).get("stream")
        kind = "text/event-stream" if streams else "application/json"
        return httpx2.Response(200, headers={"content-type": kind}, content=self.stream if streams else self.whole)


def blocks_joined(answer):
    """SDKs do not know Portkey's blocks: they join their pieces, and leave them in the shape of pieces."""
    for choice in answer["choices"]:
        message = choice["message"]
        if "content_blocks" in message:
            message["content_blocks"] = [
                {key: text for key, text in block.get("delta", block).items() if key in ("text", "thinking", "signature", "data")}
                for block in message["content_blocks"]
            ]
    return answer


def chat(client):
    question = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    whole = client.chat.completions.create(**question)
    with client.chat.completions.stream(**question, stream_options={"include_usage": True}) as stream:
        for _ in stream:
            pass
        # Asking for the final one is refused for answers that a limit or a filter cut off.
        final = stream.current_completion_snapshot
    return blocks_joined(seen(whole)), blocks_joined(seen(final))


def completions(client):
    question = {"model": "m", "prompt": "hello"}
    whole = client.completions.create(**question)
    text, reasons, usage = {}, {}, None
    for chunk in client.completions.create(**question, stream=True):
        for choice in chunk.choices:
            text[choice.index] = text.get(choice.index, "") + choice.text
            reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
        usage = chunk.usage or usage
        assert (chunk.id, chunk.model) == (whole.id, whole.model)
    expected = {choice.index: choice.text for choice in whole.choices}
    ends = {choice.index: choice.finish_reason for choice in whole.choices}
    return (expected, ends, whole.usage), (text, reasons, usage)


def messages(client):
    question = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
    whole = client.messages.create(**question)
    with client.messages.stream(**question) as stream:
        final = stream.get_final_message()
    return seen(whole), seen(final)


def responses(client):
    question = {"model": "m", "input": "hello"}
    whole = client.responses.create(**question)
    text, final = "", None
    with client.responses.stream(**question) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                text += event.delta
            elif event.type in ("response.completed", "response.incomplete"):
                final = event.response
    return (seen(whole), whole.output_text), (seen(final), text)


READERS = {
    "chat": (chat, openai.OpenAI),
    "completions": (completions, openai.OpenAI),
    "messages": (messages, anthropic.Anthropic),
    "responses": (responses, openai.OpenAI),
}

counts = dict.fromkeys(READERS, 0)
for path in sorted(FOLDER.glob("*.json")):
    operation = path.name.split(".")[-2]
    read, client = READERS[operation]
    transport = Stored(path.read_bytes(), path.with_suffix(".sse").read_bytes())
    http = httpx2.Client(transport=transport)
    whole, final = read(client(base_url="http://stored.invalid/v1", api_key="unused", http_client=http, max_retries=0))
    assert whole == final, f"{path.name}: whole {whole!r}, as a stream {final!r}"
    counts[operation] += 1
assert all(counts.values()), f"every dialect has answers: {counts}"
print(f"the same in both forms: {counts}")
