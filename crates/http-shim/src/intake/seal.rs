//! What callers may bring in clear over HTTP, and nobody over the bus.

use bus::seal::{PREFIX, PublicKey};
use domain::headers::{self, Options as Asked};
use domain::policy::{ApiKey, Chosen};
use domain::{ApiError, Config, Registry};
use serde_json::{Map, Value};
use tracing::error;

use crate::access::without_scheme;
use crate::intake::{Door, Lookup};

/// Headers that hold a provider's credential.
const CREDENTIAL_HEADERS: [&str; 3] = ["authorization", "x-api-key", "api-key"];

/// Headers that belong to one connection or to us; they are never forwarded.
const NEVER_FORWARDED: [&str; 10] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Seals for whoever runs the provider calls.
pub(crate) struct Sealer(Option<PublicKey>);

impl Sealer {
    pub(crate) fn new(registry: &Registry) -> Self {
        let key = registry.sealing_key.as_deref().and_then(|text| match PublicKey::parse(text) {
            Ok(key) => Some(key),
            Err(err) => {
                error!(%err, "the registry's sealing key cannot be read");
                None
            }
        });
        Self(key)
    }

    fn seal(&self, secret: &str) -> Result<String, ApiError> {
        let unavailable = |message: &str| ApiError::new(503, "no_sealing_key", message).with_retry_after(1);
        let key = self.0.as_ref().ok_or_else(|| {
            unavailable(
                "credentials cannot be sealed: no provider-worker has published its key yet; try again",
            )
        })?;
        key.seal(secret).map_err(|_| unavailable("the credential could not be sealed"))
    }

    /// The config with every credential in it sealed; over the bus they have to be already.
    pub(crate) fn config(&self, door: Door, text: String) -> Result<String, ApiError> {
        // What is not JSON is refused when it is parsed, with the place.
        let Ok(mut document) = serde_json::from_str::<Value>(&text) else { return Ok(text) };
        if door == Door::Nats {
            return match domain::config::clear_credential(&document) {
                Some(path) => Err(in_clear(&path, &format!("`{path}`"))),
                None => Ok(text),
            };
        }
        match self.seal_all(&mut document)? {
            0 => Ok(text),
            _ => fits(document.to_string()),
        }
    }

    /// The provider's options of a header under those of headers of their own, with every secret in them sealed; over
    /// the bus they have to be already.
    pub(crate) fn options(
        &self,
        door: Door,
        given: &Map<String, Value>,
        own: &Map<String, Value>,
    ) -> Result<Map<String, Value>, ApiError> {
        if given.is_empty() && own.is_empty() {
            return Ok(Map::new());
        }
        let mut all = Value::Object(given.iter().chain(own).map(|(k, v)| (k.clone(), v.clone())).collect());
        if door == Door::Nats {
            return match domain::config::clear_credential(&all) {
                Some(path) => Err(in_clear(headers::PROVIDER_OPTIONS, &format!("`{path}`"))),
                None => Ok(given.clone()),
            };
        }
        self.seal_all(&mut all)?;
        Ok(all.as_object().cloned().unwrap_or_default())
    }

    /// Seals every credential in a document. Returns how many there were.
    fn seal_all(&self, document: &mut Value) -> Result<usize, ApiError> {
        let mut failed = None;
        let sealed = domain::config::seal_credentials(document, &mut |secret| {
            self.seal(secret).unwrap_or_else(|err| {
                failed = Some(err);
                String::new()
            })
        });
        failed.map_or(Ok(sealed), Err)
    }

    /// The credential that goes with `x-portkey-provider`, sealed. A configured provider has its own,
    /// and so has a config that names its providers.
    pub(crate) fn callers_credential(
        &self,
        chosen: &Chosen,
        get: Lookup<'_>,
    ) -> Result<Option<String>, ApiError> {
        let named = get(headers::PROVIDER).or_else(|| get("x-portkey-provider"));
        let document = match chosen {
            Chosen::Inline(text) => serde_json::from_str(text).ok(),
            Chosen::Stored(version) => Some(version.document.clone()),
            Chosen::Headers | Chosen::Route | Chosen::Unseen(_) => None,
        };
        if named.is_none_or(|slug| slug.is_empty() || slug.starts_with('@'))
            || document.as_ref().is_some_and(names_providers)
        {
            return Ok(None);
        }
        let shown = CREDENTIAL_HEADERS.iter().filter_map(|name| get(name)).map(without_scheme);
        // What proves who the caller is goes to no provider.
        let credential = shown.into_iter().find(|value| !value.starts_with(ApiKey::PREFIX));
        credential.filter(|value| !value.is_empty()).map(|value| self.seal(value)).transpose()
    }

    /// The values of the headers that some target wants, as one sealed JSON object.
    pub(crate) fn forwarded(
        &self,
        config: Option<&Config>,
        asked: &Asked,
        get: Lookup<'_>,
    ) -> Result<Option<String>, ApiError> {
        let by_config = config.into_iter().flat_map(Config::targets).flat_map(|t| t.forward_headers.iter());
        let by_header = asked.routing.forward_headers.iter().flatten();
        let mut values = Map::new();
        for name in by_config.chain(by_header) {
            let name = name.to_ascii_lowercase();
            let ours = |value: &&str| without_scheme(value).starts_with(ApiKey::PREFIX);
            if let Some(value) = get(&name).filter(|value| may_be_forwarded(&name) && !ours(value)) {
                values.insert(name, Value::from(value));
            }
        }
        if values.is_empty() {
            return Ok(None);
        }
        self.seal(&Value::Object(values).to_string()).map(Some)
    }
}

/// Refuses credentials in the headers of a message.
pub(crate) fn refuse_clear_headers(get: Lookup<'_>) -> Result<(), ApiError> {
    let clear = CREDENTIAL_HEADERS.iter().find(|name| get(name).is_some());
    let unsealed = [headers::CREDENTIAL, headers::FORWARD];
    let unsealed = unsealed.iter().find(|name| get(name).is_some_and(|value| !value.starts_with(PREFIX)));
    match clear.or(unsealed) {
        Some(name) => Err(in_clear(name, &format!("header `{name}`"))),
        None => Ok(()),
    }
}

fn in_clear(param: &str, what: &str) -> ApiError {
    let message = format!(
        "{what} holds a credential in clear, which does not travel on the bus; name a configured provider, \
         or send the request over HTTP, where it is sealed"
    );
    ApiError::bad_request(param, "credential_in_clear", message)
}

fn fits(config: String) -> Result<String, ApiError> {
    if config.len() <= headers::MAX_CONFIG {
        return Ok(config);
    }
    let message = format!(
        "the config has {} bytes with its credentials sealed; at most {} fit into a header",
        config.len(),
        headers::MAX_CONFIG
    );
    Err(ApiError::bad_request(headers::CONFIG, "invalid_header", message))
}

/// Whether a config says by itself who answers, so that `x-portkey-provider` does not count.
fn names_providers(document: &Value) -> bool {
    ["provider", "targets", "virtual_key"].iter().any(|key| document.get(key).is_some())
}

fn may_be_forwarded(name: &str) -> bool {
    !NEVER_FORWARDED.contains(&name) && !name.starts_with("pointsman-") && !name.starts_with("x-portkey-")
}
