//! Names of the headers that carry options on a message, and how they are read.
//!
//! Each option has our own name and, where Portkey has one, Portkey's. Names are matched without regard to case.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cache::{Use, Wishes};
use crate::config::{HeaderOptions, Profile, clear_credential};
use crate::envelope::Passthrough;
use crate::time::{Timestamp, parse_duration};
use crate::{ApiError, ConfigSource, Facts, RequestId, Slug};

/// The request's id, chosen by the producer: 1 to 64 letters, digits, `-`, `_`.
pub const REQUEST_ID: &str = "Pointsman-Request-Id";
/// Time the request may take from when the broker accepted it, as in `30s`.
pub const TIMEOUT: &str = "Pointsman-Timeout";
/// Absolute deadline: RFC 3339 or milliseconds since 1970.
pub const DEADLINE: &str = "Pointsman-Deadline";
/// Routing document: inline JSON, or the `pc-…` of a stored one.
pub const CONFIG: &str = "Pointsman-Config";
/// Set by gateways: the version of the stored config that the request was checked against.
pub const CONFIG_VERSION: &str = "Pointsman-Config-Version";
/// Set by gateways: the caller's headers that the config's decisions look at, a JSON object.
pub const SEEN: &str = "Pointsman-Seen";
/// API key of a producer.
pub const KEY: &str = "Pointsman-Key";
/// Set by gateways: whose request it is, under the cluster's secret.
pub const IDENTITY: &str = "Pointsman-Identity";
/// Slug of the provider when there is no config.
pub const PROVIDER: &str = "Pointsman-Provider";
/// Caller's own key-value pairs, a JSON object of strings.
pub const METADATA: &str = "Pointsman-Metadata";
/// Subject that gets the final answer.
pub const REPLY_TO: &str = "Pointsman-Reply-To";
/// `true`: nobody waits; the longer deadline and the longer result lifetime apply.
pub const ASYNC: &str = "Pointsman-Async";
/// Over HTTP and request-reply: the lane, `interactive`, `normal` or `bulk`.
pub const LANE: &str = "Pointsman-Lane";
/// The gateway process that holds the caller's connection.
pub const GATEWAY: &str = "Pointsman-Gateway";
/// Credential that the caller brought, sealed.
pub const CREDENTIAL: &str = "Pointsman-Credential";
/// Headers that the config says to forward, sealed.
pub const FORWARD: &str = "Pointsman-Forward";
/// Media type of the body; absent: JSON.
pub const CONTENT_TYPE: &str = "Content-Type";
/// HTTP method of what passes through; absent: `POST`.
pub const METHOD: &str = "Pointsman-Method";
/// Path below the provider's base URL, and the query, of what passes through.
pub const PATH: &str = "Pointsman-Path";
/// What the provider wants to know beside the credential, a JSON object with its secrets sealed.
pub const PROVIDER_OPTIONS: &str = "Pointsman-Provider-Options";
/// On answers: parameters that the provider could not take, a comma list.
pub const DROPPED_PARAMS: &str = "x-pointsman-dropped-params";
/// On answers: the provider's own id of the request, where it came as `x-request-id`.
pub const PROVIDER_REQUEST_ID: &str = "x-pointsman-provider-request-id";

/// What a whole answer cost, in US dollars, where that is shown.
pub const COST: &str = "x-pointsman-cost";
/// Where a body lives that was too large for a message: `<object name>;<bytes>`.
pub const BODY: &str = "Pointsman-Body";
/// On answers: the HTTP status.
pub const STATUS: &str = "Pointsman-Status";
/// On answers: how the request ended.
pub const OUTCOME: &str = "Pointsman-Outcome";
/// On answers: how many attempts were made.
pub const ATTEMPTS: &str = "Pointsman-Attempts";
/// On streamed answers: counts the messages from 0.
pub const SEQUENCE: &str = "Pointsman-Seq";
/// On streamed answers: `true` on the last message.
pub const FINAL: &str = "Pointsman-Final";
/// On dead letters: why.
pub const REASON: &str = "Pointsman-Reason";
/// Sent to providers, so that both sides' books can be compared row by row.
pub const ATTEMPT_ID: &str = "pointsman-attempt-id";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Caller's own trace id.
pub const TRACE_ID: &str = "x-portkey-trace-id";

/// Caller's headers that go to the provider, a comma list.
pub const FORWARD_HEADERS: &str = "x-portkey-forward-headers";

/// On answers, under Portkey's name and ours: place of the target that answered.
pub const OPTION_INDEX: [&str; 2] =
    ["x-portkey-last-used-option-index", "x-pointsman-last-used-option-index"];
/// On answers: retries made at the target that answered; -1: used up.
pub const RETRY_COUNT: [&str; 2] = ["x-portkey-retry-attempt-count", "x-pointsman-retry-attempt-count"];
/// On answers: provider that answered.
pub const ANSWERED_BY: [&str; 2] = ["x-portkey-provider", "x-pointsman-provider"];
/// On answers: whether the cache answered.
pub const CACHE_STATUS: [&str; 2] = ["x-portkey-cache-status", "x-pointsman-cache-status"];
/// On answers of the cache: the request that had been answered.
pub const CACHE_ENTRY: &str = "x-pointsman-cache-entry";
/// On answers of the cache: how alike the two requests are, up to 1.
pub const CACHE_SCORE: &str = "x-pointsman-cache-score";
/// On answers of the cache: seconds since the answer was stored.
pub const CACHE_AGE: &str = "x-pointsman-cache-age";
/// On answers of the cache: US dollars that the answer had cost and that were saved.
pub const CACHE_SAVED_COST: &str = "x-pointsman-cache-saved-cost";
/// On answers of the cache: tokens that the answer had taken.
pub const CACHE_SAVED_TOKENS: &str = "x-pointsman-cache-saved-tokens";
/// On answers of the cache: `true` if the request waited for the same one that was on its way.
pub const CACHE_SHARED: &str = "x-pointsman-cache-shared";
/// Tags of the answer in the cache, a comma list.
pub const CACHE_TAGS: &str = "x-pointsman-cache-tags";
/// Set by gateways: what the caller wants of the cache, a JSON object.
pub const CACHE_WISHES: &str = "Pointsman-Cache";
/// On answers: the caller's trace id, or the one the request was given.
pub const ANSWERED_TRACE: [&str; 2] = [TRACE_ID, "x-pointsman-trace-id"];
/// On answers that are our own failure: `true`.
pub const GATEWAY_EXCEPTION: [&str; 2] = ["x-portkey-gateway-exception", "x-pointsman-gateway-exception"];

/// What an answer says of its way: names and values of headers.
pub fn of_route(
    path: Option<&str>,
    provider: Option<&str>,
    retry_count: i32,
    cache: Option<&Use>,
) -> Vec<([&'static str; 2], String)> {
    let status = cache.map_or("DISABLED", |cache| cache.status.header());
    let mut out = vec![(RETRY_COUNT, retry_count.to_string()), (CACHE_STATUS, status.to_owned())];
    out.extend(path.map(|path| (OPTION_INDEX, path.to_owned())));
    out.extend(provider.map(|provider| (ANSWERED_BY, provider.to_owned())));
    out
}

/// What an answer says of the entry that it came from, or would have come from: names and values of headers.
pub fn of_entry(cache: &Use) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    let seen = cache.shadow.as_ref();
    let entry = cache.entry.as_ref().or(seen.map(|shadow| &shadow.entry));
    out.extend(entry.map(|entry| (CACHE_ENTRY, entry.local().to_owned())));
    let score = cache.score.or(seen.map(|shadow| shadow.score));
    out.extend(score.map(|score| (CACHE_SCORE, format!("{score:.4}"))));
    if !cache.status.is_hit() {
        return out;
    }
    out.extend(cache.age_ms.map(|age| (CACHE_AGE, (age / 1000).to_string())));
    out.extend(cache.saved.map(|saved| (CACHE_SAVED_COST, saved.dollars())));
    let tokens = cache.usage.input.saturating_add(cache.usage.output);
    out.push((CACHE_SAVED_TOKENS, tokens.to_string()));
    out.extend(cache.shared.then(|| (CACHE_SHARED, "true".to_owned())));
    out
}

/// Longest inline config in bytes. The broker refuses more than 64 KiB of headers in all.
pub const MAX_CONFIG: usize = 32 * 1024;

/// Longest metadata in bytes.
pub const MAX_METADATA: usize = 8 * 1024;

/// Headers that no decision may look at: what they say is nobody's business but the provider's or ours.
const SECRET: &[&str] = &[
    "authorization",
    "api-key",
    "cookie",
    "pointsman-key",
    "proxy-authorization",
    "x-api-key",
    "x-portkey-api-key",
];

/// The values of headers that decisions look at. Those that hold secrets are left out.
pub fn seen<'a>(wanted: &[String], get: impl Fn(&str) -> Option<&'a str>) -> BTreeMap<String, String> {
    let open = wanted.iter().filter(|name| !SECRET.contains(&name.as_str()));
    open.filter_map(|name| Some((name.clone(), get(name)?.to_owned()))).collect()
}

/// When the request has to be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So long after it was accepted.
    Within(Duration),
    /// At a point in time.
    At(Timestamp),
}

impl Limit {
    /// The deadline of a request that the broker accepted at `accepted_at`.
    pub fn deadline(self, accepted_at: Timestamp) -> Timestamp {
        match self {
            Self::Within(duration) => accepted_at.plus(duration),
            Self::At(time) => time,
        }
    }
}

/// What the headers of a request say, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The id the caller chose.
    pub request: Option<RequestId>,
    /// When it has to be finished.
    pub limit: Option<Limit>,
    /// The routing document.
    pub config: Option<ConfigSource>,
    /// Values that fill or beat the config's.
    pub routing: HeaderOptions,
    /// The caller's key-value pairs, as JSON text.
    pub metadata: Option<String>,
    /// Subject of the final answer.
    pub reply_to: Option<String>,
    /// Nobody waits.
    pub asynchronous: bool,
    /// The gateway that waits.
    pub gateway: Option<String>,
    /// Sealed headers to forward.
    pub forward: Option<String>,
    /// Trace context of the caller.
    pub traceparent: Option<String>,
    /// The caller's own trace id.
    pub trace_id: Option<String>,
    /// Media type of the body with its parameters; None: JSON.
    pub content_type: Option<String>,
    /// Method and path of what passes through.
    pub passthrough: Option<Passthrough>,
    /// What the caller wants of the cache.
    pub wishes: Wishes,
}

impl Options {
    /// Reads the options from headers; `get` looks a name up without regard to case.
    ///
    /// Errors name the header and what to write instead.
    pub fn read<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, ApiError> {
        let either = |ours: &'static str, portkey: &'static str| {
            get(ours).map(|value| (ours, value)).or_else(|| get(portkey).map(|value| (portkey, value)))
        };
        let text = |name: &str| get(name).filter(|v| !v.is_empty()).map(str::to_owned);
        Ok(Self {
            request: get(REQUEST_ID).map(request_id).transpose()?,
            limit: limit(&get)?,
            config: either(CONFIG, "x-portkey-config")
                .map(|(name, v)| config(name, v, get(CONFIG_VERSION)))
                .transpose()?,
            routing: routing(&get)?,
            metadata: either(METADATA, "x-portkey-metadata").map(|(n, v)| metadata(n, v)).transpose()?,
            reply_to: get(REPLY_TO).map(reply_to).transpose()?,
            asynchronous: flag(ASYNC, get(ASYNC))?.unwrap_or(false),
            gateway: text(GATEWAY),
            forward: text(FORWARD),
            traceparent: text(TRACEPARENT),
            trace_id: text(TRACE_ID),
            content_type: get(CONTENT_TYPE).filter(|value| !is_json(value)).map(str::to_owned),
            passthrough: get(PATH)
                .map(|path| Passthrough::new(get(METHOD).unwrap_or("POST"), path))
                .transpose()?,
            wishes: wishes(&get)?,
        })
    }
}

impl Options {
    /// Takes provider and config from the body where no header names them.
    ///
    /// Errors are 400s: a config in the body that is none, or that holds a credential, which bodies do not hide.
    pub fn fill(&mut self, facts: &Facts) -> Result<(), ApiError> {
        if let (None, Some(text)) = (&self.config, &facts.config) {
            let document = serde_json::from_str(text).unwrap_or_default();
            if let Some(path) = clear_credential(&document) {
                let message = format!(
                    "`{path}` in the body holds a credential in clear; name a virtual key, or send the config as the \
                     header `x-portkey-config`, where it is sealed"
                );
                return Err(ApiError::bad_request("config", "credential_in_clear", message));
            }
            self.config = Some(config("config", text, None)?);
        }
        if self.routing.provider.is_none() {
            self.routing.provider.clone_from(&facts.provider);
        }
        Ok(())
    }
}

/// Whether a media type is that of JSON; an empty one says nothing else.
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.is_empty() || essence.eq_ignore_ascii_case("application/json")
}

fn invalid(name: &str, message: impl Into<String>) -> ApiError {
    ApiError::bad_request(name, "invalid_header", format!("header `{name}`: {}", message.into()))
}

fn request_id(value: &str) -> Result<RequestId, ApiError> {
    RequestId::choose(value).map_err(|err| invalid(REQUEST_ID, err.to_string()))
}

fn limit<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> Result<Option<Limit>, ApiError> {
    if let Some(value) = get(DEADLINE) {
        return deadline(value).map(|time| Some(Limit::At(time)));
    }
    let Some(value) = get(TIMEOUT) else { return Ok(None) };
    let duration = parse_duration(value).map_err(|err| invalid(TIMEOUT, err.to_string()))?;
    if duration.is_zero() {
        return Err(invalid(TIMEOUT, "a request needs more than no time at all; write for example `30s`"));
    }
    Ok(Some(Limit::Within(duration)))
}

fn deadline(value: &str) -> Result<Timestamp, ApiError> {
    if let Ok(ms) = value.parse::<u64>() {
        if ms < 100_000_000_000 {
            return Err(invalid(
                DEADLINE,
                format!("`{ms}` looks like seconds; write milliseconds since 1970"),
            ));
        }
        return Ok(Timestamp(ms));
    }
    let fix = "write RFC 3339, as in `2030-01-31T12:00:00Z`, or milliseconds since 1970";
    let time = ::time::OffsetDateTime::parse(value, &::time::format_description::well_known::Rfc3339)
        .map_err(|_| invalid(DEADLINE, format!("`{value}` is not a point in time; {fix}")))?;
    let ms = u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    Ok(Timestamp(ms))
}

fn config(name: &str, value: &str, version: Option<&str>) -> Result<ConfigSource, ApiError> {
    if let Some(slug) = stored(value) {
        let version = version.map(|v| v.parse().map_err(|_| invalid(CONFIG_VERSION, "is no number")));
        return Ok(ConfigSource::Stored { slug, version: version.transpose()? });
    }

    if value.len() > MAX_CONFIG {
        let message = format!("the config has {} bytes; at most {MAX_CONFIG} fit into a header", value.len());
        return Err(invalid(name, message));
    }
    if !value.trim_start().starts_with('{') {
        let message = "expected a JSON object, as in `{\"provider\":\"openai\"}`, or the id of a stored config, as in `pc-…`";
        return Err(invalid(name, message).in_portkeys_words(crate::error::NOT_JSON));
    }
    Ok(ConfigSource::Inline(value.to_owned()))
}

/// The id of a stored config, if the text is one.
fn stored(text: &str) -> Option<Slug> {
    let text = text.trim();
    text.starts_with("pc-").then(|| Slug::parse(text).ok()).flatten()
}

fn metadata(name: &str, value: &str) -> Result<String, ApiError> {
    let expected = "expected a JSON object of strings, as in `{\"team\":\"search\"}`";
    if value.len() > MAX_METADATA {
        return Err(invalid(name, format!("{} bytes are too many; at most {MAX_METADATA}", value.len())));
    }
    let parsed: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(value).map_err(|err| invalid(name, format!("{expected}: {err}")))?;
    for (key, value) in &parsed {
        match value.as_str() {
            None => return Err(invalid(name, format!("the value of `{key}` is not a string; {expected}"))),
            Some(text) if text.chars().count() > 128 => {
                return Err(invalid(name, format!("the value of `{key}` is longer than 128 characters")));
            }
            Some(_) => {}
        }
    }
    Ok(serde_json::to_string(&parsed).unwrap_or_default())
}

fn reply_to(value: &str) -> Result<String, ApiError> {
    let reserved = value.starts_with("llm.") || value.starts_with('$') || value == "llm";
    let malformed = value.is_empty()
        || value.len() > 256
        || value.split('.').any(str::is_empty)
        || value.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control() || b == b'*' || b == b'>');
    if reserved || malformed {
        let message = format!("`{value}` cannot get answers; name a plain subject outside `llm.` and `$`");
        return Err(invalid(REPLY_TO, message));
    }
    Ok(value.to_owned())
}

fn flag(name: &str, value: Option<&str>) -> Result<Option<bool>, ApiError> {
    match value.map(str::trim) {
        None => Ok(None),
        Some(v) if v.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(v) if v.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(v) => Err(invalid(name, format!("`{v}` is neither `true` nor `false`"))),
    }
}

fn routing<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> Result<HeaderOptions, ApiError> {
    let text = |name: &str| get(name).filter(|v| !v.is_empty()).map(str::to_owned);
    let timeout = "x-portkey-request-timeout";
    let retries = "x-portkey-retry-count";
    Ok(HeaderOptions {
        provider: text(PROVIDER)
            .or_else(|| text("x-portkey-provider"))
            .or_else(|| text("x-portkey-virtual-key")),
        api_key: text(CREDENTIAL),
        custom_host: text("x-portkey-custom-host"),
        request_timeout: get(timeout).map(|value| request_timeout(timeout, value)).transpose()?,
        forward_headers: get(FORWARD_HEADERS).map(|list| {
            list.split(',').map(|h| h.trim().to_ascii_lowercase()).filter(|h| !h.is_empty()).collect()
        }),
        retry_count: get(retries)
            .map(|v| v.parse().map_err(|_| invalid(retries, format!("`{v}` is not a number of retries"))))
            .transpose()?,
        strict_open_ai_compliance: flag(
            "x-portkey-strict-open-ai-compliance",
            get("x-portkey-strict-open-ai-compliance"),
        )?,
        provider_options: get(PROVIDER_OPTIONS).map(provider_options).transpose()?.unwrap_or_default(),
        // Not from headers: the body's model, and whose defaults count.
        model: None,
        profile: Profile::default(),
    })
}

/// Most tags of an answer in the cache, and characters of a tag or a namespace.
const MOST_TAGS: usize = 16;
const LONGEST_NAME: usize = 128;

/// What the caller wants of the cache.
///
/// Source: `Cache-Control` in RFC 9111, section 5.2.1; Portkey's headers.
fn wishes<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> Result<Wishes, ApiError> {
    if let Some(text) = get(CACHE_WISHES) {
        return serde_json::from_str(text)
            .map_err(|err| invalid(CACHE_WISHES, format!("gateways set it; leave it out ({err})")));
    }
    let either = |portkey: &'static str, ours: &'static str| {
        get(portkey).map(|value| (portkey, value)).or_else(|| get(ours).map(|value| (ours, value)))
    };
    let mut wishes = Wishes::default();
    if let Some((name, value)) = either("x-portkey-cache-force-refresh", "x-pointsman-cache-force-refresh") {
        wishes.refresh = flag(name, Some(value))?.unwrap_or(false);
    }
    if let Some((name, value)) = either("x-portkey-debug", "x-pointsman-debug") {
        wishes.private = flag(name, Some(value))? == Some(false);
    }
    if let Some((name, value)) = either("x-portkey-cache-namespace", "x-pointsman-cache-namespace") {
        short(name, value)?;
        wishes.namespace = Some(value.to_owned()).filter(|value| !value.is_empty());
    }
    for tag in get(CACHE_TAGS).unwrap_or_default().split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
        short(CACHE_TAGS, tag)?;
        wishes.tags.push(tag.to_owned());
    }
    if wishes.tags.len() > MOST_TAGS {
        let message = format!("{} tags are too many; at most {MOST_TAGS}", wishes.tags.len());
        return Err(invalid(CACHE_TAGS, message));
    }
    for part in get("cache-control").unwrap_or_default().split(',').map(str::trim) {
        let (word, value) = part.split_once('=').unwrap_or((part, ""));
        match word.to_ascii_lowercase().as_str() {
            "no-store" => wishes.no_store = true,
            "no-cache" => wishes.refresh = true,
            // What is no number is not understood, and what is not understood is passed over.
            "max-age" => {
                let seconds = value.trim_matches('"').parse().ok();
                wishes.max_age = seconds.map(Duration::from_secs).or(wishes.max_age);
            }
            _ => {}
        }
    }
    Ok(wishes)
}

fn short(name: &str, value: &str) -> Result<(), ApiError> {
    match value.chars().count() {
        0..=LONGEST_NAME => Ok(()),
        length => Err(invalid(name, format!("{length} characters are too many; at most {LONGEST_NAME}"))),
    }
}

fn provider_options(value: &str) -> Result<serde_json::Map<String, serde_json::Value>, ApiError> {
    serde_json::from_str(value).map_err(|err| invalid(PROVIDER_OPTIONS, format!("not a JSON object: {err}")))
}

fn request_timeout(name: &str, value: &str) -> Result<Duration, ApiError> {
    let duration = match value.parse::<u64>() {
        Ok(ms) if ms < 100 => {
            return Err(invalid(
                name,
                format!("`{ms}` means {ms} milliseconds; write at least 100, or `{ms}s`"),
            ));
        }
        Ok(ms) => Duration::from_millis(ms),
        Err(_) => parse_duration(value).map_err(|err| invalid(name, err.to_string()))?,
    };
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<Options, ApiError> {
        Options::read(|name| headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| *v))
    }

    #[test]
    fn names_are_matched_without_regard_to_case() {
        let options = read(&[("POINTSMAN-TIMEOUT", "30s"), ("X-Portkey-Provider", "groq")]).unwrap();
        assert_eq!(options.limit, Some(Limit::Within(Duration::from_secs(30))));
        assert_eq!(options.routing.provider.as_deref(), Some("groq"));
    }

    #[test]
    fn bad_headers_name_themselves_and_the_fix() {
        for (name, value, part) in [
            ("Pointsman-Request-Id", "a b", "letters, digits"),
            ("Pointsman-Timeout", "30", "number with a unit"),
            ("Pointsman-Timeout", "0s", "no time at all"),
            ("Pointsman-Deadline", "1763000000", "looks like seconds"),
            ("Pointsman-Deadline", "tomorrow", "RFC 3339"),
            ("Pointsman-Reply-To", "llm.result.x", "outside `llm.`"),
            ("Pointsman-Reply-To", "$JS.API", "outside `llm.`"),
            ("Pointsman-Reply-To", "a.*", "plain subject"),
            ("x-portkey-config", "pc 123", "id of a stored config"),
            ("x-portkey-metadata", "{\"a\":1}", "not a string"),
            ("x-portkey-metadata", "nope", "JSON object"),
            ("x-portkey-request-timeout", "20", "at least 100"),
            ("x-portkey-retry-count", "many", "number of retries"),
            ("Pointsman-Async", "yes", "neither `true` nor `false`"),
        ] {
            let err = read(&[(name, value)]).unwrap_err();
            assert_eq!(err.status, 400, "{name}");
            assert!(err.message.contains(part), "{name}: {}", err.message);
            assert_eq!(err.param.as_deref(), Some(name));
        }
    }
}
