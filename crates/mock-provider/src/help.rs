//! What `--help` says about the script language.

/// The complete documentation of the mock provider and its script language.
pub const HELP: &str = r#"A provider that does what you tell it to. It speaks the OpenAI dialect, needs no key, gives the same
answer to the same request every time, and keeps a bill of every call it received.

ASK FOR A FAULT
  Write the script into the model name, like the query of a URL. Any client can do that, through any
  gateway:

    curl http://127.0.0.1:PORT/v1/chat/completions -d '{
      "model": "mock?status=500,500,200&delay=200ms",
      "messages": [{"role": "user", "content": "hello"}]}'

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

ANSWERS
  The text is the model's name and `heard:`, then the words of the last user message (of each
  prompt), then filler. `max_tokens` cuts it with finish_reason `length`. Tokens are words. Streamed
  or not, the text is the same. `n` is understood, embeddings come as float or base64, and
  `stream_options.include_usage` works as at OpenAI.

ADDRESSES
  POST /v1/chat/completions, /v1/completions, /v1/embeddings
  GET /v1/models, GET /health
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
      The last N of the newest 100, with credentials as they came and up to 64 KiB of the body.
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
