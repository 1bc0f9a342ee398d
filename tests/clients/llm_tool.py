"""The `llm` command-line tool, unmodified, with Claude, Gemini and GPT as models of an OpenAI-compatible place."""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import checks
from checks import contains, equal

PROVIDERS = ["openai", "anthropic", "google"]


def models():
    for provider in PROVIDERS:
        model = {"model_id": f"our-{provider}", "model_name": f"@{provider}/mock", "api_base": f"{checks.HTTP}/v1"}
        yield model | {"supports_schema": True, "supports_tools": True, "vision": True}
    yield {"model_id": "broken", "model_name": "@anthropic/mock?status=400", "api_base": f"{checks.HTTP}/v1"}
    yield {"model_id": "calls", "model_name": "@anthropic/mock?tools=1", "api_base": f"{checks.HTTP}/v1", "supports_tools": True}


def home():
    """A folder with the settings and the memory of one user."""
    folder = tempfile.mkdtemp(dir=ROOM.name)
    # JSON is YAML, too.
    pathlib.Path(folder, "extra-openai-models.yaml").write_text(json.dumps(list(models())))
    return folder


ROOM = tempfile.TemporaryDirectory()


def llm(*arguments, at=None, **more):
    environment = os.environ | {"LLM_USER_PATH": at or home(), "OPENAI_API_KEY": "unused"}
    command = [sys.executable, "-m", "llm", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, **more)


def said(*arguments, **more):
    done = llm(*arguments, **more)
    assert done.returncode == 0, f"llm {arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def prompt(provider):
    equal(said("-m", f"our-{provider}", "where does the lantern hang").strip(), "mock heard: where does the lantern hang", "streamed")


def without_stream_and_with_usage():
    done = llm("-m", "our-anthropic", "--no-stream", "-u", "hello there")
    equal(done.stdout.strip(), "mock heard: hello there", "an answer")
    contains(done.stderr, "2 input, 4 output", "token counts")


def schema():
    answer = json.loads(said("-m", "our-google", "--schema", "name, age int", "a sailor"))
    equal(set(answer), {"name", "age"}, "fields of the schema")


def picture():
    path = pathlib.Path(ROOM.name, "dot.png")
    path.write_bytes(checks.png())
    contains(said("-m", "our-anthropic", "-a", str(path), "what is this"), "image", "what was seen")


def tools():
    code = "def weather(city: str) -> str:\n    return 'sun in ' + city"
    contains(said("-m", "calls", "--functions", code, "Oslo"), "sun in Oslo", "the result of the function")


def conversation():
    at = home()
    said("-m", "our-anthropic", "hello there", at=at)
    contains(said("-c", "and again", at=at), "and again", "the conversation goes on")


def errors():
    done = llm("-m", "broken", "hello")
    assert done.returncode != 0, done
    contains(done.stderr, "anthropic error: ", "who said it")


# Most of the time the tool only starts.
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for provider in PROVIDERS:
        pool.submit(checks.did, prompt, provider)
    for check in [without_stream_and_with_usage, schema, picture, tools, conversation, errors]:
        pool.submit(checks.did, check)
checks.end()
