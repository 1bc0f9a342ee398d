"""The official OpenAI client and what is no chat: sound, images, forms and bytes, moderation, and a provider's own paths."""

import base64
import hashlib
import io
import json

import openai
from openai import OpenAI

import checks
from checks import contains, equal, raises

client = OpenAI(base_url=f"{checks.HTTP}/v1", api_key="unused", max_retries=0)
WHO = {"x-portkey-provider": "openai"}
# Larger than what a message holds.
SOUND = bytes(range(256)) * 4096


def speech():
    spoken = client.audio.speech.create(model="@openai/mock", voice="alloy", input="the harbour lies still")
    equal(spoken.response.headers["content-type"], "audio/mpeg", "content type")
    sound = spoken.read()
    assert sound.startswith(b"ID3") and b"the harbour lies still" in sound, sound
    with client.audio.speech.with_streaming_response.create(
        model="@openai/mock?chunks=9", voice="alloy", input="the harbour lies still", response_format="wav"
    ) as streamed:
        pieces = list(streamed.iter_bytes())
    assert b"".join(pieces).startswith(b"RIFF"), pieces
    large = client.audio.speech.create(model="@openai/mock?size=2MB", voice="alloy", input="at length").read()
    assert len(large) >= 2_000_000, f"{len(large)} bytes"


def transcriptions():
    print_of_file = hashlib.sha256(SOUND).hexdigest()[:16]
    file = lambda: ("harbour.wav", io.BytesIO(SOUND), "audio/wav")
    heard = client.audio.transcriptions.create(model="@openai/mock", file=file(), language="de", prompt="a harbour")
    contains(heard.text, f"harbour.wav {len(SOUND)}B {print_of_file}", "the file came as it was")
    text = client.audio.transcriptions.create(model="@openai/mock", file=file(), response_format="srt")
    contains(text, "00:00:00,000 --> 00:00:01,000", "subtitles")
    verbose = client.audio.transcriptions.create(model="@openai/mock", file=file(), response_format="verbose_json")
    equal((verbose.duration, len(verbose.segments)), (1.0, 1), "segments")
    events = list(client.audio.transcriptions.create(model="@openai/mock", file=file(), stream=True))
    equal(events[-1].type, "transcript.text.done", "last event")
    equal("".join(event.delta for event in events[:-1]), events[-1].text, "the pieces together")
    english = client.audio.translations.create(model="@openai/mock", file=file())
    contains(english.text, print_of_file, "a translation")
    call = lambda: client.audio.transcriptions.create(model="@openai/mock", file=("notes.txt", b"no sound"))
    contains(raises(openai.BadRequestError, call, "no sound").message, "notes.txt", "what was wrong")


def images():
    made = client.images.generate(model="@openai/gpt-image-mock", prompt="a harbour at night", n=2)
    equal(len(made.data), 2, "images")
    assert base64.b64decode(made.data[0].b64_json).startswith(b"\x89PNG"), "an image"
    edited = client.images.edit(model="@openai/gpt-image-mock", image=("dot.png", checks.png(), "image/png"), prompt="darker")
    assert base64.b64decode(edited.data[0].b64_json).startswith(b"\x89PNG"), "an image"


def moderations():
    for text in ["the harbour lies still", ["one", "two"]]:
        told = client.moderations.create(model="@openai/mock", input=text)
        equal(len(told.results), 1 if isinstance(text, str) else 2, "results")
        equal([result.flagged for result in told.results], [False] * len(told.results), "nothing bad")


def paths_of_the_provider():
    """What the gateway does not know goes to the provider: method, query, body and bytes."""
    told = client.get("/files/f-1?limit=3", cast_to=object, options={"headers": WHO})
    equal((told["method"], told["path"], told["query"]), ("GET", "/v1/files/f-1", "limit=3"), "as it was asked")
    body = {"purpose": "test", "file_id": "f-1"}
    told = client.post("/batches", cast_to=object, body=body, options={"headers": WHO})
    equal((told["method"], told["path"]), ("POST", "/v1/batches"), "a path with a body")
    told = client.delete("/files/f-1", cast_to=object, options={"headers": WHO})
    equal(told["method"], "DELETE", "deleted")


def errors():
    for call in [
        lambda: client.audio.speech.create(model="@anthropic/mock", voice="alloy", input="hello"),
        lambda: client.images.generate(model="@bedrock/mock", prompt="hello"),
        lambda: client.moderations.create(model="@google/mock", input="hello"),
    ]:
        error = raises(openai.BadRequestError, call, "what the provider does not offer")
        contains(error.message, "is not supported by", "who does not offer it")
    failing = lambda: client.audio.speech.create(model="@openai/mock?status=429", voice="alloy", input="hello")
    contains(raises(openai.RateLimitError, failing, "too fast").message, "openai error: ", "who said it")
    config = {"strategy": {"mode": "fallback"}, "targets": [
        {"provider": "openai", "override_params": {"model": "mock?status=503"}},
        {"provider": "openai", "override_params": {"model": "spare"}},
    ]}
    heard = client.audio.transcriptions.create(
        model="any", file=("a.wav", SOUND), extra_headers={"x-portkey-config": json.dumps(config)}
    )
    contains(heard.text, "spare heard: a.wav", "a form goes to the next provider, too")


for check in [speech, transcriptions, images, moderations, paths_of_the_provider, errors]:
    checks.did(check)
checks.end()
