//! What `--help` says about the script language.

/// The complete documentation of the mock provider and its script language.
pub const HELP: &str = r#"A provider that does what you tell it to. It speaks the dialects of the large providers, gives the
same answer to the same request every time, and keeps a bill of every call it received. It is
strict: what the real provider refuses is refused, in the provider's own words.

ASK FOR A FAULT
  Write the script into the model name, like the query of a URL. Any client can do that, through any
  gateway:

    curl http://127.0.0.1:PORT/v1/chat/completions -d '{
      "model": "mock?status=500,500,200&delay=200ms",
      "messages": [{"role": "user", "content": "hello"}]}'

  Where the model is part of the address, write `%3F` for the `?`. The script is the same in every
  dialect, and so is the bill.

  A name without `?` is answered at once and without faults. The name before `?` is free:
  `gpt-4o?status=503` works. An unknown parameter or a value that is not understood is a 400 that
  lists what is known.

LISTS
  Every value may be a comma list. The first call takes the first value, the next call the next, and
  all later calls stay on the last one. `no` switches a fault off within a list: `hang=headers,no`.
  Calls that carry the header `pointsman-attempt-id: REQUEST.NUMBER` share a position with the other
  attempts of the same request (and the same model name); other calls share one per model name. What
  counts is how many calls have been seen, not the number in the header.

FAILING
  status=500,429,200  answer with this status; 300 and above with the dialect's error object
  retry-after=2       with such an error, send `retry-after: 2`; `500ms` adds `retry-after-ms: 500`
  rate=10/s           429 with a wait above 10 calls a second (or `100/m`) for this very model name;
                      a whole period's calls may come at once
  wall=10/2s          at most 10 calls of this very model name in a window of 2 s, which the first
                      opens; answers tell in `x-ratelimit-limit-requests`, `-remaining-requests` and
                      `-reset-requests`; beyond it 429 with the wait
  error-body          status 200, but the body (or the only event of a stream) is an error object
  error-after=2       an error of the dialect's own form after so many content chunks of a stream
  malformed=json      JSON cut short; in a stream the first content event is
  malformed=sse       the first content event lacks what ends it (an empty line, a newline, a right
                      checksum) and runs into the next; no `[DONE]` or other last event
  filtered            the provider's filter ends the answer before a word is said
  content-type=text/html
                      say this about the body, which stays what it is
  usage=none          leave the token counts out

HANGING AND BREAKING OFF
  hang=headers        read the request, never answer
  hang=stream         send some chunks, then nothing more; half the body if it is not streamed
  hang-after=2        how many content chunks `hang=stream` sends first (2); 0: headers only
  abort=100           close the connection after 100 bytes of the body; 0: before the headers
  A hanging call ends when the client goes away or the mock stops.

SLOWNESS
  delay=200ms         wait before the headers
  gap=10ms            wait between the content chunks of a stream
  drip=5ms            send one byte at a time, with this pause
  Durations are whole numbers of `ms`, `s` or `m`.

SIZE
  words=50            length of the answer; one word is one output token
  chunks=20           content chunks of a stream; makes the answer long enough. Without it a chunk
                      is a word, up to 256 chunks
  size=5MB            make the text of the answer (or the error message) at least this long, in B,
                      KB, KiB, MB or MiB; embeddings grow by `dimensions` and inputs instead
  dimensions=256      length of embedding vectors, 16 if neither this nor the request says

CONTENT
  tools=2             call the first 2 tools, if the request leaves the choice; after results, none
  thinking=9          think in 9 words first
  cached=100          say that 100 of the input tokens were read from a cache
  expires=2s          lifetime of an access token

PRICE
  `pointsman up` counts what it says at 2.50 US dollars per million tokens of prompts and 10 of
  answers, and 0.04 for an image. Nobody is charged.

WATCHING
  log                 keep this model's calls for `GET /log` and `GET /requests`

EXAMPLES
  mock?status=503,200                      fails once, then works: does the retry work?
  mock?status=429&retry-after=3            always refuses, and says how long to wait
  mock?hang=headers                        accepts and never answers: does the timeout work?
  mock?chunks=50&gap=20ms                  a stream of one second
  mock?chunks=10&hang=stream&hang-after=3  three chunks, then silence: does the idle timeout work?
  mock?abort=300&chunks=20                 a stream that breaks in the middle
  mock?delay=1s,0ms&log                    slow once; what happened is at /log
  mock?rate=5/s                            a provider with a limit
  mock?wall=5/10s                          one that tells how much is left

ANSWERS
  The text is the model's name and `heard:`, then the words of the last user message (of each
  prompt), then filler. If results of tools come last, they are what is heard. Images, documents and
  sound are checked, and heard as `[image/png,68B]`. `max_tokens` cuts the text and stop sequences
  end it. Tokens are words. Streamed or not, the text is the same.
  A tool is called if the request says it must, or the script says so; its arguments fit its schema,
  and texts in them are what was heard. The same goes for structured output. Thoughts are signed,
  and are refused if they come back with another signature.
  Vectors are drawn from a hash of the text. A document's rank is the share of the query's words in
  it. Moderation flags `violence`. Sound is the text in bytes, images are one pixel. Transcriptions
  hear the name, size and hash of the file.

ADDRESSES
  OpenAI         POST /v1/chat/completions, /v1/completions, /v1/embeddings, /v1/responses,
                 /v1/moderations, /v1/images/generations, /v1/images/edits, /v1/images/variations,
                 /v1/audio/speech, /v1/audio/transcriptions, /v1/audio/translations, /v1/rerank;
                 GET /v1/models. No key is needed.
                 Any other /v1/… with any method says what arrived, as JSON with the body's hash.
                 Its script is the body's model, or the header `x-mock-model`.
  Anthropic      POST /v1/messages, /v1/messages/count_tokens, and both below /anthropic, with
                 `x-api-key` or a Bearer token, and `anthropic-version`
  Gemini         POST /v1beta/models/MODEL:generateContent, :streamGenerateContent?alt=sse,
                 :countTokens, :embedContent, :batchEmbedContents, with `x-goog-api-key` or ?key=
  Vertex AI      POST /v1/projects/P/locations/L/publishers/google/models/MODEL:…, also :predict,
                 and …/publishers/anthropic/models/MODEL:rawPredict, :streamRawPredict, with a
                 Bearer token of POST /token
  Google tokens  POST /token takes an assertion that is signed with the key of
                 GET /google/service-account, which is a key file that names this mock. The script
                 is the query: /google/service-account?expires=2s leads to /token?expires=2s.
  Entra tokens   POST /TENANT/oauth2/v2.0/token takes client_id `mock-client` and client_secret
                 `mock-secret`. The script is the query, too.
  Azure          POST /openai/deployments/DEPLOYMENT/…?api-version=…, /openai/v1/…,
                 /models/chat/completions?api-version=…, /models/embeddings?api-version=…, with
                 `api-key` or a Bearer token of Entra
  Bedrock        POST /model/MODEL/converse, /converse-stream, /invoke,
                 /invoke-with-response-stream, with any Bearer token, or signed with SigV4 by
                 AKIDEXAMPLE and wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY in any region. The
                 signature is verified.
  Cohere         POST /v2/chat, /v2/embed, /v2/rerank, with any Bearer token
  Ollama         POST /api/chat, /api/embed
  Workers AI     POST /client/v4/accounts/A/ai/run/MODEL, with any Bearer token

WHAT HAPPENED
  GET /health
  GET /bill
      {"models":{MODEL:{"calls","input_tokens","output_tokens"}},
       "attempts":[{"attempt_id","model","status","input_tokens","output_tokens"}]}
      A row per call in the order they came, the newest 1000000; totals count on. MODEL is the whole
      name with its script. A row's status is null until headers leave, and stays so for calls that
      hang or break off before. Input is billed with the headers of a success, output as far as it
      was generated: all of it for an answer that is not streamed, chunk by chunk for a stream.
      Errors cost nothing. A request without a readable model is billed to the model "".
  DELETE /bill
      forgets it.
  GET /log?after=N&wait=5s
      {"events":[{"n","attempt_id","model","what","chunk"}],"next":N}
      Steps after number N, waiting up to `wait` for one; `next` is the N to go on with. `what` is
      started, first_byte, chunk (content only, numbered from 1), finished, client_disconnected or
      aborted.
  GET /requests?last=N
      {"requests":[{"method","path","headers","body"}]}
      The last N of the newest 100, with credentials as they came and up to 64 KiB of the body. If
      the body is no text, it is in `body_base64`, too.
"#;

#[cfg(test)]
mod tests {
    use super::HELP;
    use crate::script::{PARAMS, Script};

    #[test]
    fn every_parameter_is_explained() {
        for param in PARAMS {
            let starts = |line: &str| {
                let name = line.trim_start().split(['=', ' ']).next();
                line.starts_with("  ") && name == Some(param.name)
            };
            assert!(HELP.lines().any(starts), "{} is missing", param.name);
        }
    }

    #[test]
    fn every_example_is_understood() {
        let models =
            HELP.split([' ', '`', '"', '\n']).filter(|word| word.contains('?') && word.contains("mock?"));
        let examples = models.inspect(|model| drop(Script::parse(model).expect(model))).count();
        assert!(examples >= 9, "{examples} examples");
    }

    #[test]
    fn lines_are_not_wrapped_by_the_command_line() {
        for line in HELP.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
