//! An OpenAI-compatible embeddings endpoint as the embedder.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::embed::options::{Endpoint, Options};
use crate::embed::{How, Model, Refused, State, Vector, normalized, short_hex, surely_too_long};

/// More than any vector takes as JSON.
const LONGEST_ANSWER: usize = 4 << 20;

/// How much of an endpoint's own words is repeated.
const LONGEST_QUOTE: usize = 200;

pub(super) struct Remote {
    endpoint: Endpoint,
    url: String,
    http: reqwest::Client,
    max_tokens: usize,
    state: watch::Sender<State>,
    /// Look-ups under way. Storing has places of its own, so that it never takes theirs.
    lookups: Semaphore,
    stores: Semaphore,
    /// The last call failed: only changes are logged.
    failing: AtomicBool,
}

#[derive(Serialize)]
struct Ask<'a> {
    model: &'a str,
    input: &'a str,
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Embedding>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Embedding {
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: usize,
}

/// Why one call gave no vector.
#[derive(Debug, PartialEq)]
enum Problem {
    TooLong,
    /// Another call at once may do better.
    Passing(String),
    Lasting(String),
}

impl Remote {
    pub(super) fn new(endpoint: Endpoint, options: &Options) -> anyhow::Result<Self> {
        let url = url_of(&endpoint.url);
        let http = client(endpoint.api_key.as_ref(), endpoint.timeout)?;
        Ok(Self {
            endpoint,
            url,
            http,
            max_tokens: options.max_tokens,
            state: watch::Sender::new(State::Idle),
            lookups: Semaphore::new(options.queue.clamp(1, Semaphore::MAX_PERMITS)),
            stores: Semaphore::new(options.threads.clamp(1, Semaphore::MAX_PERMITS)),
            failing: AtomicBool::new(false),
        })
    }

    pub(super) fn states(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(super) async fn embed(&self, text: &str, how: How) -> Result<Vector, Refused> {
        if surely_too_long(text, self.max_tokens) {
            return Err(Refused::TooLong);
        }
        let _place = match how {
            How::Try => self.lookups.try_acquire().map_err(|_| Refused::Busy)?,
            How::Wait => self.stores.acquire().await.map_err(|_| Refused::Busy)?,
        };
        let mut found = self.call(text).await;
        if let Err(Problem::Passing(_)) = found {
            found = self.call(text).await;
        }
        match found.and_then(|values| self.known(values)) {
            Ok(vector) => {
                self.tell(None);
                Ok(vector)
            }
            Err(Problem::TooLong) => {
                self.tell(None);
                Err(Refused::TooLong)
            }
            Err(Problem::Passing(reason) | Problem::Lasting(reason)) => {
                self.tell(Some(&reason));
                Err(Refused::Failed(reason))
            }
        }
    }

    async fn call(&self, text: &str) -> Result<Vec<f32>, Problem> {
        let Endpoint { model, dimensions, .. } = &self.endpoint;
        let ask = Ask { model, input: text, encoding_format: "float", dimensions: *dimensions };
        let said = self.http.post(&self.url).json(&ask).send().await;
        let mut said = said.map_err(|err| Problem::Passing(unreachable(&err)))?;
        let (status, mut body) = (said.status(), Vec::new());
        while let Some(part) = said.chunk().await.map_err(|err| Problem::Passing(unreachable(&err)))? {
            body.extend_from_slice(&part);
            if body.len() > LONGEST_ANSWER {
                return Err(Problem::Lasting(format!("an answer of more than {LONGEST_ANSWER} bytes")));
            }
        }
        if status != StatusCode::OK {
            return Err(refusal(status, &String::from_utf8_lossy(&body)));
        }
        read(&body, self.max_tokens)
    }

    /// A vector of the model that is known; the first one makes it known.
    fn known(&self, values: Vec<f32>) -> Result<Vector, Problem> {
        let dimensions = values.len();
        let expected = match &*self.state.borrow() {
            State::Ready(model) => Some(model.dimensions),
            _ => self.endpoint.dimensions,
        };
        if expected.is_some_and(|expected| expected != dimensions) {
            let expected = expected.unwrap_or_default();
            return Err(Problem::Lasting(format!(
                "a vector of {dimensions} numbers instead of {expected}: correct the dimensions or the model"
            )));
        }
        let Endpoint { model, .. } = &self.endpoint;
        let parts = format!("{}\n{model}\n{dimensions}\n{}", self.url, self.max_tokens);
        let digest = short_hex(&Sha256::digest(parts));
        self.state.send_if_modified(|state| {
            let first = *state == State::Idle;
            if first {
                *state = State::Ready(Model { digest: digest.clone(), dimensions });
            }
            first
        });
        Ok(Vector { values, model: digest })
    }

    /// Logs when calls begin to fail and when they work again, not each one.
    fn tell(&self, problem: Option<&str>) {
        let before = self.failing.swap(problem.is_some(), Ordering::Relaxed);
        let url = &self.url;
        match problem {
            Some(reason) if !before => warn!(
                url,
                reason,
                "the embeddings endpoint fails: until it works, only requests that are exactly the same are answered \
                 from the cache"
            ),
            None if before => info!(url, "the embeddings endpoint works again"),
            _ => {}
        }
    }
}

/// Where to post, from what settings say.
fn url_of(base: &str) -> String {
    let base = base.trim_end_matches('/');
    if base.ends_with("/embeddings") { base.to_owned() } else { format!("{base}/embeddings") }
}

fn client(api_key: Option<&Zeroizing<String>>, timeout: Duration) -> anyhow::Result<reqwest::Client> {
    use rustls_platform_verifier::BuilderVerifierExt as _;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("set up TLS")?
        .with_platform_verifier()
        .context("load the system's certificates")?
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut headers = HeaderMap::new();
    if let Some(key) = api_key {
        let bearer = Zeroizing::new(format!("Bearer {}", key.as_str()));
        let mut value = HeaderValue::from_str(&bearer)
            .context("the API key of the embeddings endpoint has characters that no header may have")?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .default_headers(headers)
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("pointsman/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("set up an HTTP client for embeddings")
}

/// Why nothing came, causes included: the outermost alone says only that a request failed.
fn unreachable(err: &reqwest::Error) -> String {
    if err.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut text = err.to_string();
    let mut cause = std::error::Error::source(err);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// What a status other than 200 means.
fn refusal(status: StatusCode, body: &str) -> Problem {
    let lower = body.to_lowercase();
    // OpenAI, vLLM and Ollama speak of the context length, others of too many tokens or of a text too long.
    let about_length =
        ["context length", "context_length", "too long", "too many tokens", "maximum number of tokens"]
            .iter()
            .any(|words| lower.contains(words));
    let refused = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY);
    if status == StatusCode::PAYLOAD_TOO_LARGE || (refused && about_length) {
        return Problem::TooLong;
    }
    let quote: String = body.chars().take(LONGEST_QUOTE).collect();
    let reason = format!("status {}: {}", status.as_u16(), quote.trim());
    if status.is_server_error() { Problem::Passing(reason) } else { Problem::Lasting(reason) }
}

/// The vector in an answer.
fn read(body: &[u8], max_tokens: usize) -> Result<Vec<f32>, Problem> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|err| Problem::Lasting(format!("an answer that is not OpenAI's embeddings: {err}")))?;
    // Some endpoints cut the text without a word.
    if answer.usage.is_some_and(|usage| usage.prompt_tokens > max_tokens) {
        return Err(Problem::TooLong);
    }
    let first = answer.data.into_iter().next().and_then(|first| normalized(first.embedding));
    first.ok_or_else(|| Problem::Lasting("an answer without a usable vector".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_appended_once() {
        for base in ["http://h/v1", "http://h/v1/", "http://h/v1/embeddings"] {
            assert_eq!(url_of(base), "http://h/v1/embeddings");
        }
    }

    #[test]
    fn a_text_too_long_is_told_from_other_refusals() {
        let too_long = [
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens, however you …"}}"#,
            ),
            (400, r#"{"error":{"message":"the input length exceeds the context length"}}"#),
            (422, "input is too long"),
            (413, ""),
        ];
        for (status, body) in too_long {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(refusal(status, body), Problem::TooLong, "{status} {body}");
        }
        let lasting = Problem::Lasting("status 401: wrong key, too long ago".to_owned());
        assert_eq!(refusal(StatusCode::UNAUTHORIZED, "wrong key, too long ago\n"), lasting);
        assert!(matches!(refusal(StatusCode::BAD_GATEWAY, "context length"), Problem::Passing(_)));
    }

    #[test]
    fn answers_are_read_and_scaled() {
        let read = |text: &str| read(text.as_bytes(), 10);
        assert_eq!(read(r#"{"data":[{"embedding":[3,4]}]}"#), Ok(vec![0.6, 0.8]));
        let within = r#"{"data":[{"embedding":[1]}],"usage":{"prompt_tokens":10,"total_tokens":10}}"#;
        assert_eq!(read(within), Ok(vec![1.0]));
        assert_eq!(read(&within.replace(":10", ":11")), Err(Problem::TooLong));
        for bad in [r#"{"data":[]}"#, r#"{"data":[{"embedding":[0,0]}]}"#, r#"{"data":[{"embedding":[]}]}"#] {
            assert_eq!(read(bad), Err(Problem::Lasting("an answer without a usable vector".to_owned())));
        }
        let Err(Problem::Lasting(said)) = read("<html>") else { panic!("it is not JSON") };
        assert!(said.starts_with("an answer that is not OpenAI's embeddings: "), "{said}");
    }
}
