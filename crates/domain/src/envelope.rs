//! What travels with a request's body from hop to hop, and how it is laid out on the wire.
//!
//! Wire form: four bytes of big-endian length, that many bytes of JSON, then the inline bodies one after another.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cache::{Asked, Wishes};
use crate::config::{HeaderOptions, Unsupported, params};
use crate::health::Watch;
use crate::limit::Hold;
use crate::registry::{Format, Quirks};
use crate::{
    ApiError, Attempt, AttemptId, ConfigSource, Conversation, Lane, Operation, RequestId, Slug, Timestamp,
    Workspace, headers, time,
};

/// Where the answer goes besides the stored result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyTo {
    /// Nowhere: whoever wants the result reads it by id.
    #[default]
    Nobody,
    /// The gateway process that holds the caller's connection; gets frames as they come.
    Gateway(String),
    /// A subject of the producer's choice; gets the final answer once it is stored.
    Subject(String),
}

/// Where the bytes of a body are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyRef {
    /// In the message itself.
    Inline {
        /// Bytes.
        size: usize,
    },
    /// In the object store.
    Stored {
        /// Name of the object.
        object: String,
        /// Bytes.
        size: usize,
    },
}

impl BodyRef {
    /// Bytes of the body, wherever it is.
    pub fn size(&self) -> usize {
        match self {
            Self::Inline { size } | Self::Stored { size, .. } => *size,
        }
    }

    /// Bytes that travel in the message.
    pub(crate) fn inline_len(&self) -> usize {
        match self {
            Self::Inline { size } => *size,
            Self::Stored { .. } => 0,
        }
    }
}

impl Default for BodyRef {
    fn default() -> Self {
        Self::Inline { size: 0 }
    }
}

/// Times a provider call may take. Milliseconds on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// To open a connection.
    #[serde(with = "time::ms")]
    pub connect: Duration,
    /// From sending the request to the first byte of the answer's body.
    #[serde(with = "time::ms")]
    pub first_byte: Duration,
    /// Between two pieces of a streamed answer.
    #[serde(with = "time::ms")]
    pub idle: Duration,
    /// For the whole call.
    #[serde(with = "time::ms")]
    pub total: Duration,
}

/// How a provider wants the credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    /// Header name, lower case.
    pub header: String,
    /// Word before the credential; empty: none.
    pub scheme: String,
    /// What is done where the options for it are there. Otherwise, or where this is none, the credential is sent as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<Signing>,
}

/// Ways to prove who calls that are more than a header with a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Signing {
    /// Amazon's signature, version 4, made with the options `aws_access_key_id`, `aws_secret_access_key` and, if there
    /// is one, `aws_session_token`, for `aws_region`.
    AwsSigv4 {
        /// Name of the service, as in `bedrock`.
        service: String,
    },
    /// An access token from Google, for the service account in the option `vertex_service_account_json` or in a
    /// credential that is such a JSON document.
    GoogleServiceAccount {
        /// What the token is for, as in `https://www.googleapis.com/auth/cloud-platform`.
        scope: String,
    },
    /// An access token from Microsoft's Entra, for the application in the options `azure_entra_client_id` and
    /// `azure_entra_client_secret` of `azure_entra_tenant_id`.
    EntraClient {
        /// Where tokens are had; `{azure_entra_tenant_id}` stands for that option.
        token_url: String,
        /// What the token is for, unless the option `azure_entra_scope` says otherwise.
        scope: String,
    },
}

/// Names a virtual key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualKeyRef {
    /// The workspace it belongs to, which may share it with others.
    pub workspace: Workspace,
    /// What it is named by.
    pub slug: Slug,
}

/// A fully resolved call: nothing in it has to be looked up but the credential of a virtual key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Number of the attempt, counted from 1.
    pub number: u32,
    /// When the router decided.
    pub decided_at: Timestamp,
    /// Place of the target in the config.
    pub path: String,
    /// Why this target and not another; empty where nothing had to be chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
    /// Slug of the provider.
    pub provider: String,
    /// Wire format that the provider speaks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub format: Format,
    /// The operation that is asked of the provider, where it is not the caller's own: a Messages request may go out as
    /// a chat completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// Scheme and host, and the beginning of the path.
    pub base_url: String,
    /// Rest of the path, and the query; absent: OpenAI's for the operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_and_query: Option<String>,
    /// The model's name at the provider, where it is not the one in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How the provider's requests differ from the format's.
    #[serde(default, skip_serializing_if = "Quirks::is_empty")]
    pub quirks: Quirks,
    /// What signatures and formats need to know; secrets are sealed.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// What happens to parameters that the provider cannot take.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unsupported: Unsupported,
    /// Answers show what is not in OpenAI's API.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lenient: bool,
    /// The host comes from the caller: only public addresses may be called.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untrusted_host: bool,
    /// How the provider wants the credential.
    pub auth: Auth,
    /// Sealed credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The virtual key whose credential counts at the moment of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_key: Option<VirtualKeyRef>,
    /// Further request headers, in clear and not secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Request headers of the caller that the target wants, by name; their values are in [`Envelope::forward`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward_headers: Vec<String>,
    /// Fields for a body that lacks them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub default_params: Map<String, Value>,
    /// Fields that replace the body's.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub override_params: Map<String, Value>,
    /// What is taken out of the body in the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop_params: Vec<params::Path>,
    /// Time to the response headers, from the config. Running out of it is a 408.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout_ms: Option<u64>,
    /// The provider's own limits.
    pub timeouts: Timeouts,
    /// Any 2xx ends the request, so that it may be forwarded as it comes.
    pub success_is_final: bool,
    /// What to report of the target's health, and about whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// What limits have set aside for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Retries that will have been made at this target if it answers.
    #[serde(default)]
    pub retry_count: i32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The HTTP request of an operation that has no form of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passthrough {
    /// HTTP method, in capitals.
    pub method: String,
    /// Path below the provider's base URL, and the query; begins with `/`.
    pub path_and_query: String,
}

/// Methods that pass through.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Longest path with its query, in bytes.
const MAX_PATH: usize = 4096;

impl Passthrough {
    /// Checks method and path. Errors are 400s that name the header.
    pub fn new(method: &str, path_and_query: &str) -> Result<Self, ApiError> {
        let invalid = |name: &str, message: String| {
            Err(ApiError::bad_request(name, "invalid_header", format!("header `{name}`: {message}")))
        };
        let Some(method) = METHODS.iter().find(|known| known.eq_ignore_ascii_case(method)) else {
            let methods = METHODS.join(", ");
            return invalid(
                headers::METHOD,
                format!("`{method}` does not pass through; use one of {methods}"),
            );
        };
        let path = path_and_query.split('?').next().unwrap_or_default();
        let plain = path_and_query.bytes().all(|b| b.is_ascii_graphic() && b != b'#' && b != b'\\');
        let climbs = path.split('/').any(|part| {
            let part = part.to_ascii_lowercase().replace("%2e", ".");
            part == "." || part == ".."
        });
        if !path.starts_with('/')
            || path.starts_with("//")
            || !plain
            || climbs
            || path_and_query.len() > MAX_PATH
        {
            let message = "write a path below the provider's base URL, percent-encoded and without `..`, as in `/files?limit=3`";
            return invalid(headers::PATH, message.to_owned());
        }
        Ok(Self { method: (*method).to_owned(), path_and_query: path_and_query.to_owned() })
    }
}

/// An answer that may yet be the last word: the most recent failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAnswer {
    /// Number of the attempt it belongs to.
    pub attempt: u32,
    /// Media type.
    pub content_type: String,
    /// Headers worth passing on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// It is a response that is kept if it becomes the answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// Where its bytes are.
    pub body: BodyRef,
}

/// A request that waits for room in a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Key of the bucket.
    pub bucket: String,
    /// Since when.
    pub since: Timestamp,
    /// When there may be room. None: nobody can say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Everything about a request but its bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// The request.
    pub request: RequestId,
    /// Whom it belongs to.
    pub workspace: Workspace,
    /// What it asks for.
    pub operation: Operation,
    /// How urgent it is.
    pub lane: Lane,
    /// Media type of the body, with its parameters; None: JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Method and path, where the operation does not say them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<Passthrough>,
    /// The model the caller named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The answer is to come in pieces.
    #[serde(default)]
    pub stream: bool,
    /// The caller wants token counts at the end of the stream.
    #[serde(default)]
    pub include_usage: bool,
    /// How a response is served; nothing for other operations.
    #[serde(default, skip_serializing_if = "Conversation::is_none")]
    pub conversation: Conversation,
    /// When the broker accepted it.
    pub accepted_at: Timestamp,
    /// When it has to be finished.
    pub deadline: Timestamp,
    /// Where the answer goes.
    #[serde(default)]
    pub reply: ReplyTo,
    /// Nobody waits.
    #[serde(default)]
    pub asynchronous: bool,
    /// Routing document, credentials sealed. Stays the same for the life of the request.
    pub config: ConfigSource,
    /// The API key that the request came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Slug>,
    /// The person that the request is made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Header values that fill or beat the config's.
    #[serde(default)]
    pub routing: HeaderOptions,
    /// The body holds `provider` or `config`, which no provider is to see.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub options_in_body: bool,
    /// What the caller wants of the cache.
    #[serde(default, skip_serializing_if = "Wishes::is_none")]
    pub wishes: Wishes,
    /// What the cache was asked for it, at the target that it is at. None: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Box<Asked>>,
    /// The same requests wait for this one's answer, under this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flight: Option<String>,
    /// The answer says what it cost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub show_cost: bool,
    /// Sealed JSON object of caller headers that some target wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<String>,
    /// The caller's key-value pairs, JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// The caller's headers that the config's decisions look at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<String, String>,
    /// W3C trace context of the hop that published this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The caller's own trace id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// What has been tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// How many attempt numbers have been given out.
    #[serde(default)]
    pub numbers_used: u32,
    /// Sequence that the stored result must have for a write to win; 0: there is none yet.
    /// A lost attempt raises it, so that its owner can no longer answer.
    #[serde(default)]
    pub result_seq: u64,
    /// The most recent failure, in case it becomes the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedAnswer>,
    /// The limits of its key and its workspace have counted it: it was called for, or nearly so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counted: bool,
    /// What it waits for. None: it does not wait for room in a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// The call to make; present between router and worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// The request body.
    #[serde(default)]
    pub body: BodyRef,
}

impl Call {
    /// The operation that is asked of the provider by a request for this one.
    pub fn asks(&self, operation: Operation) -> Operation {
        self.operation.unwrap_or(operation)
    }

    /// Whether the bytes of a request for this operation, and of its answer, go through as they are.
    pub fn is_native(&self, operation: Operation) -> bool {
        self.format.forwards(operation, self.asks(operation), &self.quirks)
    }

    /// Rest of the path, and the query.
    pub fn path(&self, operation: Operation) -> &str {
        self.path_and_query.as_deref().unwrap_or(operation.openai_path())
    }

    /// What is changed in the body.
    pub fn changes(&self) -> params::Changes<'_> {
        params::Changes {
            defaults: &self.default_params,
            overrides: &self.override_params,
            drops: &self.drop_params,
        }
    }
}

impl Envelope {
    /// The attempt that the call is for.
    pub fn attempt_id(&self, number: u32) -> AttemptId {
        AttemptId::new(self.request.clone(), number)
    }

    /// Randomness for this request: the same on every router.
    pub fn seed(&self) -> u64 {
        // FNV-1a, so that the choice does not depend on the standard library's hasher.
        self.request.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// Puts the envelope and its inline bodies into one payload.
    pub fn encode(&self, body: &[u8], failed: &[u8]) -> Bytes {
        debug_assert_eq!(self.body.inline_len(), body.len());
        frame(self, &[body, failed])
    }

    /// Takes a payload apart: the envelope, the request body and the failed answer's body (empty when stored elsewhere).
    pub fn decode(payload: &Bytes) -> Result<(Self, Bytes, Bytes), Malformed> {
        let (envelope, rest): (Self, Bytes) = unframe(payload)?;
        let body_len = envelope.body.inline_len();
        let failed_len = envelope.failed.as_ref().map_or(0, |f| f.body.inline_len());
        if rest.len() != body_len + failed_len {
            return Err(Malformed(format!(
                "{} bytes of bodies, {} announced",
                rest.len(),
                body_len + failed_len
            )));
        }
        let body = rest.slice(..body_len);
        Ok((envelope, body, rest.slice(body_len..)))
    }
}

/// A payload that is not an envelope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an envelope: {0}")]
pub struct Malformed(pub String);

/// Length-prefixed JSON and then bytes.
pub(crate) fn frame(head: &impl Serialize, parts: &[&[u8]]) -> Bytes {
    let size: usize = parts.iter().map(|p| p.len()).sum();
    let mut out = BytesMut::with_capacity(1024 + size);
    out.put_u32(0);
    let mut writer = (&mut out).writer();
    serde_json::to_writer(&mut writer, head).expect("messages have string keys and write to memory");
    let length = u32::try_from(out.len() - 4).expect("an envelope is far below 4 GiB");
    out[..4].copy_from_slice(&length.to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
    out.freeze()
}

/// The JSON of a framed payload, and what follows it.
pub(crate) fn unframe<T: DeserializeOwned>(payload: &Bytes) -> Result<(T, Bytes), Malformed> {
    let short = || Malformed(format!("{} bytes are too short", payload.len()));
    let prefix: [u8; 4] = payload.get(..4).and_then(|p| p.try_into().ok()).ok_or_else(short)?;
    let length = u32::from_be_bytes(prefix) as usize;
    let json = payload.get(4..4 + length).ok_or_else(short)?;
    let head = serde_json::from_slice(json).map_err(|err| Malformed(err.to_string()))?;
    Ok((head, payload.slice(4 + length..)))
}
