//! A provider's settings, and how secrets in settings stay out of sight.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use domain::Operation;
use domain::envelope::Signing;
use domain::registry::{Format, Quirks, Variant, When};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::settings::units;

/// What settings say about a provider; the catalogue fills what they leave out.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Provider {
    /// Wire format it speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// URL that operations' paths are added to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Our credential for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
    /// Header that carries the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_header: Option<String>,
    /// Word before the credential; empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_scheme: Option<String>,
    /// What proves who calls, where a header with a credential does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing: Option<Signing>,
    /// Regions, projects, deployments: what URLs and signatures need. Credentials among them are sealed.
    #[serde(serialize_with = "secrets_hidden", skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// Operations it offers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// Paths of operations where they differ from the format's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<String, String>,
    /// How its requests differ from the format's.
    #[serde(skip_serializing_if = "Quirks::is_empty")]
    pub quirks: Quirks,
    /// Models that are spoken to in another way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// Addresses that depend on an option.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<When>,
    /// Calls it may be given at once, over all workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// Time to open a connection.
    #[serde(with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Duration>,
    /// Time to the first byte of the answer.
    #[serde(with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout: Option<Duration>,
    /// Time between two pieces of a streamed answer.
    #[serde(with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// Time for the whole call.
    #[serde(with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub total_timeout: Option<Duration>,
    /// Further headers that it wants. They are published in clear: no credentials.
    #[serde(serialize_with = "names_only", skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Ids that `GET /v1/models` shows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// What it charges for models whose price is not known by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<providers::models::Rates>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hidden(self, f)
    }
}

/// Text that is neither printed nor logged.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

const HIDDEN: &str = "(hidden)";

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { HIDDEN })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The library's own error would repeat the value.
        let text =
            String::deserialize(deserializer).map_err(|_| D::Error::custom("expected text in quotes"))?;
        Ok(Self(Zeroizing::new(text)))
    }
}

/// Debug output by way of the serialisation, which leaves secrets out.
pub(super) fn hidden<T: Serialize>(value: &T, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(&toml::to_string(value).map_err(|_| fmt::Error)?)
}

fn names_only<S: Serializer>(headers: &BTreeMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.keys().map(|name| (name, HIDDEN)))
}

fn secrets_hidden<S: Serializer>(options: &Map<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut shown = Value::Object(options.clone());
    domain::config::seal_credentials(&mut shown, &mut |_| HIDDEN.to_owned());
    shown.serialize(serializer)
}

/// Broker addresses may carry a user and password.
pub(super) fn url_without_password<S: Serializer>(urls: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let shown: Vec<String> = urls.split(',').map(without_user).collect();
    serializer.serialize_str(&shown.join(","))
}

fn without_user(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{HIDDEN}@{host}"),
        (None, Some((_, host))) => format!("{HIDDEN}@{host}"),
        (_, None) => url.to_owned(),
    }
}
