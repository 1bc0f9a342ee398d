"""What the client scripts share: where things are, and checks that say what they found."""

import json
import os
import struct
import time
import traceback
import urllib.request
import zlib

HTTP = os.environ["POINTSMAN_HTTP"]
NATS = os.environ["POINTSMAN_NATS"]
MOCK = os.environ["POINTSMAN_MOCK"]


def equal(found, expected, what):
    assert found == expected, f"{what}: found {found!r}, expected {expected!r}"


def contains(text, part, what):
    assert part in text, f"{what}: {part!r} is not in {text!r}"


def raises(kind, call, what):
    """Returns the error that a call must end with: this class, no other."""
    try:
        answer = call()
    except Exception as error:
        assert type(error) is kind, f"{what}: {type(error).__name__} instead of {kind.__name__}: {error}"
        return error
    raise AssertionError(f"{what}: answered {answer!r} instead of raising {kind.__name__}")


def mock(path):
    """What the mock provider says of itself."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{MOCK.removesuffix('/v1')}{path}") as answer:
        return json.load(answer)


def calls(model):
    """How often the mock provider was called with this very model name."""
    return mock("/bill")["models"].get(model, {}).get("calls", 0)


def received(part):
    """The logged requests of the mock provider whose body has this part."""
    return [request for request in mock("/requests")["requests"] if part in request["body"]]


def png():
    """One grey dot."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")


FAILED = []


def did(check, *arguments):
    """Runs one check of many and says so; the others run all the same."""
    name = " ".join([check.__name__, *arguments])
    began = time.monotonic()
    try:
        check(*arguments)
    except Exception:
        FAILED.append(name)
        traceback.print_exc()
    print(f"{'FAILED' if name in FAILED else 'did'} {name} ({time.monotonic() - began:.2f} s)")


def end():
    """Fails if any check has."""
    assert not FAILED, f"failed: {', '.join(FAILED)}"


def attempts(request):
    """Provider, status and model of every attempt that is on record for a request."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + 10
    while True:
        with opener.open(f"{HTTP}/v1/requests/{request}") as answer:
            record = json.load(answer)
        # The record of an answer is written just after its last byte.
        if record["status"] == "answered" or time.monotonic() > until:
            return [(attempt["provider"], attempt["status"], attempt["model"]) for attempt in record["attempts"]]
        time.sleep(0.02)
