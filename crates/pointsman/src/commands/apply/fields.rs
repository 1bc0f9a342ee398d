//! What a document of each kind may say.

use serde_json::Value;

/// What kind of entity a document describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    // In the order of applying: what comes later may name what comes before.
    Workspace,
    VirtualKey,
    Config,
    ApiKey,
    UsagePolicy,
    RatePolicy,
}

/// One field of a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Its name in documents and in answers.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
}

/// What may be written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Flag,
    Texts,
    Object,
    /// An object or a list of them.
    Limits,
    Objects,
    Number,
    /// A date, or milliseconds since 1970.
    Time,
}

const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: false }
}

const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: true }
}

const CONFIG: &[Field] =
    &[field("name", Shape::Text), required("config", Shape::Object), field("is_default", Shape::Flag)];

const VIRTUAL_KEY: &[Field] = &[
    field("name", Shape::Text),
    required("provider", Shape::Text),
    field("key", Shape::Text),
    field("secret", Shape::Object),
    field("note", Shape::Text),
    field("custom_host", Shape::Text),
    field("models", Shape::Texts),
    field("operations", Shape::Texts),
    field("workspaces", Shape::Texts),
    field("usage_limits", Shape::Limits),
    field("rate_limits", Shape::Limits),
    field("expires_at", Shape::Time),
];

const API_KEY: &[Field] = &[
    field("type", Shape::Text),
    required("key_file", Shape::Text),
    field("scopes", Shape::Texts),
    field("description", Shape::Text),
    field("user_id", Shape::Text),
    field("defaults", Shape::Object),
    field("usage_limits", Shape::Limits),
    field("rate_limits", Shape::Limits),
    field("rotation_policy", Shape::Object),
    field("alert_emails", Shape::Texts),
    field("expires_at", Shape::Time),
];

const WORKSPACE: &[Field] = &[
    field("name", Shape::Text),
    field("description", Shape::Text),
    field("defaults", Shape::Object),
    field("usage_limits", Shape::Limits),
    field("rate_limits", Shape::Limits),
];

const USAGE_POLICY: &[Field] = &[
    field("name", Shape::Text),
    field("conditions", Shape::Objects),
    field("group_by", Shape::Objects),
    field("type", Shape::Text),
    required("credit_limit", Shape::Number),
    field("alert_threshold", Shape::Number),
    field("periodic_reset", Shape::Text),
    field("periodic_reset_days", Shape::Number),
    field("next_usage_reset_at", Shape::Text),
    field("soft", Shape::Flag),
    field("on_unreachable", Shape::Text),
];

const RATE_POLICY: &[Field] = &[
    field("name", Shape::Text),
    field("conditions", Shape::Objects),
    field("group_by", Shape::Objects),
    required("type", Shape::Text),
    field("unit", Shape::Text),
    required("value", Shape::Number),
    field("soft", Shape::Flag),
    field("on_unreachable", Shape::Text),
];

impl Kind {
    pub(crate) const ALL: &[Self] =
        &[Self::Workspace, Self::VirtualKey, Self::Config, Self::ApiKey, Self::UsagePolicy, Self::RatePolicy];

    /// The word in documents.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::VirtualKey => "virtual_key",
            Self::Config => "config",
            Self::ApiKey => "api_key",
            Self::UsagePolicy => "usage_policy",
            Self::RatePolicy => "rate_policy",
        }
    }

    /// Where the API has them.
    pub(super) fn path(self) -> &'static [&'static str] {
        match self {
            Self::Workspace => &["admin", "workspaces"],
            Self::VirtualKey => &["virtual-keys"],
            Self::Config => &["configs"],
            Self::ApiKey => &["api-keys"],
            Self::UsagePolicy => &["policies", "usage-limits"],
            Self::RatePolicy => &["policies", "rate-limits"],
        }
    }

    /// The field that says which entity it is: the others get an id when they are made.
    pub(super) fn identity(self) -> &'static str {
        if self == Self::ApiKey { "name" } else { "slug" }
    }

    pub(super) fn fields(self) -> &'static [Field] {
        match self {
            Self::Workspace => WORKSPACE,
            Self::VirtualKey => VIRTUAL_KEY,
            Self::Config => CONFIG,
            Self::ApiKey => API_KEY,
            Self::UsagePolicy => USAGE_POLICY,
            Self::RatePolicy => RATE_POLICY,
        }
    }

    /// Whether it lies in a workspace.
    pub(super) fn has_workspace(self) -> bool {
        self != Self::Workspace
    }
}

impl Shape {
    /// None: the value may stand there. Otherwise what to write instead.
    pub(super) fn refuses(self, value: &Value) -> Option<&'static str> {
        let texts = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
        let tables = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_object));
        let (fits, instead) = match self {
            Self::Text => (value.is_string(), "a string"),
            Self::Flag => (value.is_boolean(), "true or false"),
            Self::Texts => (texts(value), "a list of strings"),
            Self::Object => (value.is_object(), "a table"),
            Self::Limits => (value.is_object() || value.is_array(), "a table or a list of tables"),
            Self::Objects => (tables(value), "a list of tables"),
            Self::Number => (value.is_number(), "a number"),
            Self::Time => (
                value.is_u64() || value.is_string(),
                "a date as in \"2027-01-31T00:00:00Z\", or milliseconds since 1970",
            ),
        };
        // Null takes a value away.
        (!fits && !value.is_null()).then_some(instead)
    }
}
