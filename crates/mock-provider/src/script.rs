//! The script in a model name: `mock?status=500,200&delay=200ms` says how the calls of this model go.

use std::borrow::Cow;
use std::time::Duration;

use domain::ApiError;
use http::{HeaderValue, StatusCode};

use crate::endpoint::decoded;
use crate::value::{self, Rate, RetryAfter, Wall};

/// A parsed model name. Every value has been tried, so that a mistake shows on the first call.
#[derive(Debug)]
pub(crate) struct Script<'m> {
    /// The model name without its script.
    pub(crate) base: &'m str,
    params: Vec<(&'static Param, Vec<Cow<'m, str>>)>,
}

/// What the script says about one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<RetryAfter>,
    pub(crate) delay: Duration,
    pub(crate) chunks: Option<usize>,
    pub(crate) gap: Duration,
    pub(crate) words: Option<usize>,
    pub(crate) hang: Option<Hang>,
    pub(crate) hang_after: usize,
    pub(crate) abort: Option<usize>,
    pub(crate) malformed: Option<Malformed>,
    pub(crate) usage: bool,
    pub(crate) drip: Option<Duration>,
    pub(crate) size: Option<usize>,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) error_body: bool,
    pub(crate) rate: Option<Rate>,
    /// A limit that is told of in headers.
    pub(crate) wall: Option<Wall>,
    pub(crate) dimensions: Option<usize>,
    /// How many tools are called.
    pub(crate) tools: Option<usize>,
    /// Words of a thought.
    pub(crate) thinking: Option<usize>,
    /// Input tokens that are said to come from a cache.
    pub(crate) cached: Option<u64>,
    /// The provider's filter ends the answer.
    pub(crate) filtered: bool,
    /// Content chunks before an error in the stream.
    pub(crate) error_after: Option<usize>,
    /// Lifetime of access tokens.
    pub(crate) expires: Duration,
    pub(crate) log: bool,
}

/// Where a call stops for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hang {
    Headers,
    Stream,
}

/// What is broken in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    Json,
    Sse,
}

/// One parameter of the language.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: &'static str,
    /// What may follow the `=`.
    pub(crate) accepts: &'static str,
    set: fn(&mut Step, &str) -> Option<()>,
}

/// The whole language, in the order of the help.
pub(crate) const PARAMS: &[Param] = &[
    Param { name: "status", accepts: "200 to 599", set: |s, v| put(&mut s.status, status(v)) },
    Param {
        name: "retry-after",
        accepts: "seconds as 2, or 500ms",
        set: |s, v| put(&mut s.retry_after, value::retry_after(v).map(Some)),
    },
    Param { name: "rate", accepts: "10/s or 100/m", set: |s, v| put(&mut s.rate, value::rate(v).map(Some)) },
    Param { name: "wall", accepts: "10/2s", set: |s, v| put(&mut s.wall, value::wall(v).map(Some)) },
    Param { name: "delay", accepts: "200ms or 2s", set: |s, v| put(&mut s.delay, value::duration(v)) },
    Param { name: "gap", accepts: "10ms or 2s", set: |s, v| put(&mut s.gap, value::duration(v)) },
    Param { name: "drip", accepts: "5ms, or no", set: |s, v| put(&mut s.drip, or_no(v, value::duration)) },
    Param {
        name: "chunks",
        accepts: "1 to 100000",
        set: |s, v| put(&mut s.chunks, value::count(v, 1, 100_000).map(Some)),
    },
    Param {
        name: "words",
        accepts: "0 to 1000000",
        set: |s, v| put(&mut s.words, value::count(v, 0, 1_000_000).map(Some)),
    },
    Param {
        name: "size",
        accepts: "5MB or 64KiB, at most 256MiB",
        set: |s, v| put(&mut s.size, value::size(v).map(Some)),
    },
    Param {
        name: "dimensions",
        accepts: "1 to 4096",
        set: |s, v| put(&mut s.dimensions, value::count(v, 1, MAX_DIMENSIONS).map(Some)),
    },
    Param { name: "hang", accepts: "headers, stream or no", set: |s, v| put(&mut s.hang, or_no(v, hang)) },
    Param {
        name: "hang-after",
        accepts: "a number of chunks",
        set: |s, v| put(&mut s.hang_after, value::count(v, 0, 100_000)),
    },
    Param {
        name: "abort",
        accepts: "a number of body bytes, or no",
        set: |s, v| put(&mut s.abort, or_no(v, |v| value::count(v, 0, value::MAX_SIZE))),
    },
    Param {
        name: "malformed",
        accepts: "json, sse or no",
        set: |s, v| put(&mut s.malformed, or_no(v, malformed)),
    },
    Param { name: "usage", accepts: "none or full", set: |s, v| put(&mut s.usage, usage(v)) },
    Param {
        name: "content-type",
        accepts: "a media type as text/html, or no",
        set: |s, v| put(&mut s.content_type, or_no(v, media_type)),
    },
    Param { name: "error-body", accepts: "yes or no", set: |s, v| put(&mut s.error_body, flag(v)) },
    Param {
        name: "error-after",
        accepts: "a number of chunks, or no",
        set: |s, v| put(&mut s.error_after, or_no(v, |v| value::count(v, 0, 100_000))),
    },
    Param {
        name: "tools",
        accepts: "0 to 128",
        set: |s, v| put(&mut s.tools, value::count(v, 0, 128).map(Some)),
    },
    Param {
        name: "thinking",
        accepts: "a number of words",
        set: |s, v| put(&mut s.thinking, value::count(v, 0, 100_000).map(Some)),
    },
    Param {
        name: "cached",
        accepts: "a number of tokens",
        set: |s, v| put(&mut s.cached, value::count(v, 0, 1_000_000_000).map(|n| Some(n as u64))),
    },
    Param { name: "filtered", accepts: "yes or no", set: |s, v| put(&mut s.filtered, flag(v)) },
    Param { name: "expires", accepts: "200ms or 2s", set: |s, v| put(&mut s.expires, value::duration(v)) },
    Param { name: "log", accepts: "yes or no", set: |s, v| put(&mut s.log, flag(v)) },
];

/// Longest vector that is answered.
pub(crate) const MAX_DIMENSIONS: usize = 4096;

impl Default for Step {
    fn default() -> Self {
        Self {
            status: StatusCode::OK,
            retry_after: None,
            delay: Duration::ZERO,
            chunks: None,
            gap: Duration::ZERO,
            words: None,
            hang: None,
            hang_after: 2,
            abort: None,
            malformed: None,
            usage: true,
            drip: None,
            size: None,
            content_type: None,
            error_body: false,
            rate: None,
            wall: None,
            dimensions: None,
            tools: None,
            thinking: None,
            cached: None,
            filtered: false,
            error_after: None,
            expires: Duration::from_secs(3600),
            log: false,
        }
    }
}

impl<'m> Script<'m> {
    /// Reads a model name. A name without `?` has an empty script.
    pub(crate) fn parse(model: &'m str) -> Result<Self, ApiError> {
        let Some((base, query)) = model.split_once('?') else {
            return Ok(Self { base: model, params: Vec::new() });
        };
        let mut params: Vec<(&'static Param, Vec<Cow<'m, str>>)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, values) = pair.split_once('=').unwrap_or((pair, "yes"));
            let param = PARAMS.iter().find(|param| param.name == name).ok_or_else(|| unknown(name))?;
            if params.iter().any(|(seen, _)| seen.name == name) {
                let reason = format!("`{name}` is given twice: write one comma list");
                return Err(refusal("invalid_script_value", &reason));
            }
            let values: Vec<_> = values.split(',').map(decoded).collect();
            let mut scratch = Step::default();
            for value in &values {
                (param.set)(&mut scratch, value).ok_or_else(|| bad_value(param, value))?;
            }
            params.push((param, values));
        }
        Ok(Self { base, params })
    }

    /// Whether calls of this model differ, so that their position matters.
    pub(crate) fn is_sequence(&self) -> bool {
        self.params.iter().any(|(_, values)| values.len() > 1)
    }

    /// What happens to the call at this position, counted from 0. Lists stay on their last value.
    pub(crate) fn step(&self, position: usize) -> Step {
        let mut step = Step::default();
        for (param, values) in &self.params {
            let value = values.get(position).or(values.last()).map_or("", |value| value.as_ref());
            let set = (param.set)(&mut step, value);
            debug_assert!(set.is_some(), "parse tried every value");
        }
        step
    }
}

fn put<T>(slot: &mut T, value: Option<T>) -> Option<()> {
    *slot = value?;
    Some(())
}

/// Lets a list switch a fault off again.
fn or_no<T>(text: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text == "no" { Some(None) } else { parse(text).map(Some) }
}

fn status(text: &str) -> Option<StatusCode> {
    let code = value::count(text, 200, 599)?;
    StatusCode::from_u16(u16::try_from(code).ok()?).ok()
}

fn hang(text: &str) -> Option<Hang> {
    match text {
        "headers" => Some(Hang::Headers),
        "stream" => Some(Hang::Stream),
        _ => None,
    }
}

fn malformed(text: &str) -> Option<Malformed> {
    match text {
        "json" => Some(Malformed::Json),
        "sse" => Some(Malformed::Sse),
        _ => None,
    }
}

fn usage(text: &str) -> Option<bool> {
    match text {
        "full" => Some(true),
        "none" => Some(false),
        _ => None,
    }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn media_type(text: &str) -> Option<HeaderValue> {
    text.contains('/').then(|| HeaderValue::from_str(text).ok())?
}

fn unknown(name: &str) -> ApiError {
    let known: Vec<_> = PARAMS.iter().map(|param| format!("{} ({})", param.name, param.accepts)).collect();
    let reason = format!("unknown parameter `{}`; known are {}", clipped(name), known.join(", "));
    refusal("unknown_script_parameter", &reason)
}

fn bad_value(param: &Param, value: &str) -> ApiError {
    let known: Vec<_> = PARAMS.iter().map(|param| param.name).collect();
    let reason = format!(
        "`{}` does not take `{}`: write {}; known parameters are {}",
        param.name,
        clipped(value),
        param.accepts,
        known.join(", ")
    );
    refusal("invalid_script_value", &reason)
}

fn refusal(code: &str, reason: &str) -> ApiError {
    ApiError::bad_request("model", code, format!("script in the model name: {reason}"))
}

fn clipped(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests;
