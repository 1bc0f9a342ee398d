//! Requests: read from callers, written for providers.

mod blocks;
mod read;
mod schema;
mod settings;
mod thinking;
mod tools;
mod turns;
mod write;

pub(super) use read::read;
pub use read::read_request;
pub use write::write_request;

/// Fields that Anthropic defines and the other dialects do not know: kept as they are for providers that do.
///
/// Source: the request parameters of the Messages API, its betas included.
const OWN: [&str; 15] = [
    "betas",
    "billing_policy",
    "cache_control",
    "compaction",
    "container",
    "context_management",
    "diagnostics",
    "fallback_credit_token",
    "fallbacks",
    "inference_geo",
    "mcp_servers",
    "service_tier",
    "speed",
    "thread",
    "user_profile_id",
];
