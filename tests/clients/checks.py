"""What the client scripts share: where things are, and checks that say what they found."""

import json
import os
import urllib.request

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
