//! The response object.

use domain::Usage;
use serde_json::{Map, Value, json};

use super::echo;
use super::raw::RawFields;
use crate::chat::{About, ProviderError, Start};

/// Longest id of an item, in bytes, as OpenAI takes them back.
const MAX_ITEM_ID: usize = 64;

/// The id of the response that answers the request of this id.
pub fn response_id(request_id: &str) -> String {
    format!("resp_{request_id}")
}

/// The id of the request that a response of this id answers. None: the response is not ours.
pub fn request_id(response_id: &str) -> Option<&str> {
    response_id.strip_prefix("resp_").filter(|id| !id.is_empty())
}

/// Where a response without an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage<'a> {
    /// Nobody works on it yet.
    Queued,
    /// Its answer is being made.
    InProgress,
    /// Its caller gave it up.
    Cancelled,
    /// It brought no answer.
    Failed {
        /// A stable word, as in `server_error`.
        code: &'a str,
        /// What went wrong.
        message: &'a str,
    },
}

/// The response object of a request that has no answer: for callers that poll what runs in the background.
pub fn write_stage(stage: Stage<'_>, about: &About<'_>, request_body: &[u8]) -> Vec<u8> {
    let (word, error) = match stage {
        Stage::Queued => ("queued", None),
        Stage::InProgress => ("in_progress", None),
        Stage::Cancelled => ("cancelled", None),
        Stage::Failed { code, message } => ("failed", Some(json!({ "code": code, "message": message }))),
    };
    let status = Status { error, ..Status::plain(word) };
    Object::new(about, request_body).write(&status, Vec::new(), None, &Map::new()).into_bytes()
}

/// How a response ended, or how far it is.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) word: &'static str,
    /// Why it is incomplete.
    pub(super) incomplete: Option<&'static str>,
    pub(super) error: Option<Value>,
}

impl Status {
    pub(super) fn plain(word: &'static str) -> Self {
        Self { word, incomplete: None, error: None }
    }

    pub(super) fn incomplete(why: &'static str) -> Self {
        Self { incomplete: Some(why), ..Self::plain("incomplete") }
    }

    pub(super) fn failed(error: &ProviderError, provider: &str) -> Self {
        let error = json!({ "code": code(error), "message": format!("{provider} error: {}", error.message) });
        Self { error: Some(error), ..Self::plain("failed") }
    }
}

/// The word for a provider's error: its own, else OpenAI's for the status.
pub(super) fn code(error: &ProviderError) -> &str {
    let by_status = if error.status == Some(429) { "rate_limit_exceeded" } else { "server_error" };
    error.code.as_deref().or(error.kind.as_deref()).unwrap_or(by_status)
}

/// What stays the same in all states of one response.
#[derive(Debug)]
pub(super) struct Object {
    id: String,
    created_at: u64,
    model: String,
    provider: String,
    /// Hide what is not in OpenAI's API.
    pub(super) strict: bool,
    /// End of the items' ids.
    stem: String,
    echo: String,
    service_tier: Value,
}

impl Object {
    pub(super) fn new(about: &About<'_>, request_body: &[u8]) -> Self {
        let request: RawFields<'_> = serde_json::from_slice(request_body).unwrap_or_default();
        Self {
            id: response_id(about.id),
            created_at: about.now,
            model: about.model.to_owned(),
            provider: about.provider.to_owned(),
            strict: about.strict,
            stem: about.id.to_owned(),
            echo: echo::members(request_body),
            service_tier: request.read("service_tier").unwrap_or_default(),
        }
    }

    /// Takes what the provider says of its answer. Its name for it goes on in the items' ids: the response's own id
    /// is known before there is an answer.
    pub(super) fn begin(&mut self, start: &Start) {
        let fits = |id: &&String| {
            (1..=MAX_ITEM_ID - 16).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if let Some(id) = start.id.as_ref().filter(fits) {
            // Some providers call the whole answer a message.
            self.stem = id.strip_prefix("msg_").unwrap_or(id).to_owned();
        }
        if let Some(model) = &start.model {
            self.model.clone_from(model);
        }
        self.created_at = start.created.unwrap_or(self.created_at);
    }

    /// Id of an item.
    pub(super) fn item_id(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}_{}_{index}", self.stem)
    }

    /// The object as JSON text in one line.
    pub(super) fn write(
        &self,
        status: &Status,
        output: Vec<Value>,
        usage: Option<Usage>,
        extra: &Map<String, Value>,
    ) -> String {
        let tier = extra.get("service_tier").filter(|tier| tier.is_string()).unwrap_or(&self.service_tier);
        let object = json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "status": status.word,
            "error": status.error,
            "incomplete_details": status.incomplete.map(|why| json!({ "reason": why })),
            "model": self.model,
            "output": output,
            "service_tier": tier,
            "usage": usage.map(|usage| self.usage(usage)),
        });
        let Value::Object(mut object) = object else { return String::new() };
        // Nobody has been chosen for what still waits.
        if !self.provider.is_empty() {
            object.insert("provider".to_owned(), Value::from(self.provider.as_str()));
        }
        if !self.strict {
            for (name, value) in extra {
                if !object.contains_key(name) && !echo::repeats(name) {
                    object.insert(name.clone(), value.clone());
                }
            }
        }
        let mut text = Value::Object(object).to_string();
        text.pop();
        text.push(',');
        text.push_str(&self.echo);
        text.push('}');
        text
    }

    fn usage(&self, usage: Usage) -> Value {
        let mut input =
            json!({ "cached_tokens": usage.cached_input, "cache_write_tokens": usage.cache_write });
        let mut output = json!({ "reasoning_tokens": usage.reasoning });
        for (details, count) in [(&mut input, usage.audio_input), (&mut output, usage.audio_output)] {
            if count > 0 && !self.strict {
                details["audio_tokens"] = Value::from(count);
            }
        }
        json!({
            "input_tokens": usage.input,
            "input_tokens_details": input,
            "output_tokens": usage.output,
            "output_tokens_details": output,
            "total_tokens": usage.total(),
        })
    }
}
