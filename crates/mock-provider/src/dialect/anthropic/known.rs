//! Everything that Anthropic knows in a body; what is not here is refused.
//! Source: docs.anthropic.com/en/api/messages; the request types of Anthropic's own SDK.

use crate::shape::{Field, Kind, may, must};

/// The type of an error by its status.
pub(crate) fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        _ => "api_error",
    }
}

static CACHE: Kind =
    Kind::Object(&[must("type", &Kind::Word(&["ephemeral"])), may("ttl", &Kind::Word(&["5m", "1h"]))]);

static CITATIONS: Kind = Kind::Object(&[may("enabled", &Kind::Bool)]);

static TEXT: &[Field] = &[
    must("text", &Kind::Filled),
    may("cache_control", &CACHE),
    may("citations", &Kind::List(0, &Kind::Map)),
];

static IMAGE_SOURCE: Kind = Kind::Tagged(
    "type",
    &[
        (
            "base64",
            &[
                must("media_type", &Kind::Word(&["image/jpeg", "image/png", "image/gif", "image/webp"])),
                must("data", &Kind::Text),
            ],
        ),
        ("url", &[must("url", &Kind::Text)]),
        ("file", &[must("file_id", &Kind::Text)]),
    ],
);

static DOCUMENT_SOURCE: Kind = Kind::Tagged(
    "type",
    &[
        ("base64", &[must("media_type", &Kind::Word(&["application/pdf"])), must("data", &Kind::Text)]),
        ("text", &[must("media_type", &Kind::Word(&["text/plain"])), must("data", &Kind::Text)]),
        ("content", &[must("content", &Kind::Either(&[&Kind::Text, &Kind::List(0, &SHOWN)]))]),
        ("url", &[must("url", &Kind::Text)]),
        ("file", &[must("file_id", &Kind::Text)]),
    ],
);

static IMAGE: &[Field] =
    &[must("source", &IMAGE_SOURCE), may("cache_control", &CACHE), may("transformations", &Kind::Map)];

static DOCUMENT: &[Field] = &[
    must("source", &DOCUMENT_SOURCE),
    may("cache_control", &CACHE),
    may("citations", &CITATIONS),
    may("context", &Kind::Text),
    may("title", &Kind::Text),
];

static SEARCH_RESULT: &[Field] = &[
    must("content", &Kind::List(1, &SHOWN)),
    must("source", &Kind::Text),
    must("title", &Kind::Text),
    may("cache_control", &CACHE),
    may("citations", &CITATIONS),
];

/// What a document or a result of a tool may hold.
static SHOWN: Kind = Kind::Tagged(
    "type",
    &[
        ("text", TEXT),
        ("image", IMAGE),
        ("document", DOCUMENT),
        ("search_result", SEARCH_RESULT),
        ("tool_reference", &[must("tool_name", &Kind::Text), may("cache_control", &CACHE)]),
    ],
);

static TOOL_USE: &[Field] = &[
    must("id", &Kind::Filled),
    must("input", &Kind::Map),
    must("name", &Kind::Filled),
    may("cache_control", &CACHE),
    may("caller", &Kind::Map),
    may("toolset_name", &Kind::Text),
];

static TOOL_RESULT: &[Field] = &[
    must("tool_use_id", &Kind::Filled),
    may("content", &Kind::Either(&[&Kind::Text, &Kind::List(0, &SHOWN)])),
    may("is_error", &Kind::Bool),
    may("cache_control", &CACHE),
    may("toolset_name", &Kind::Text),
];

/// Results of tools that ran at Anthropic.
static SERVER_RESULT: &[Field] = &[
    must("tool_use_id", &Kind::Filled),
    must("content", &Kind::Any),
    may("cache_control", &CACHE),
    may("caller", &Kind::Map),
];

static BLOCK: Kind = Kind::Tagged(
    "type",
    &[
        ("text", TEXT),
        ("image", IMAGE),
        ("document", DOCUMENT),
        ("search_result", SEARCH_RESULT),
        ("thinking", &[must("signature", &Kind::Text), must("thinking", &Kind::Text)]),
        ("redacted_thinking", &[must("data", &Kind::Text)]),
        ("tool_use", TOOL_USE),
        ("tool_result", TOOL_RESULT),
        ("server_tool_use", TOOL_USE),
        ("web_search_tool_result", SERVER_RESULT),
        ("web_fetch_tool_result", SERVER_RESULT),
        ("code_execution_tool_result", SERVER_RESULT),
        ("bash_code_execution_tool_result", SERVER_RESULT),
        ("text_editor_code_execution_tool_result", SERVER_RESULT),
        ("tool_search_tool_result", SERVER_RESULT),
        ("container_upload", &[must("file_id", &Kind::Text), may("cache_control", &CACHE)]),
    ],
);

static MESSAGE: Kind = Kind::Object(&[
    must("role", &Kind::Word(&["user", "assistant", "system"])),
    must("content", &Kind::Either(&[&Kind::Text, &Kind::List(0, &BLOCK)])),
]);

static SYSTEM: Kind = Kind::Either(&[&Kind::Text, &Kind::List(0, &Kind::Tagged("type", &[("text", TEXT)]))]);

static THINKING: Kind = Kind::Tagged(
    "type",
    &[
        ("enabled", &[must("budget_tokens", &Kind::Whole(1024)), may("display", &DISPLAY)]),
        ("adaptive", &[may("display", &DISPLAY)]),
        ("between_tools", &[]),
        ("disabled", &[]),
    ],
);

static DISPLAY: Kind = Kind::Word(&["summarized", "omitted"]);

static TOOL_CHOICE: Kind = Kind::Tagged(
    "type",
    &[
        ("auto", &[may("disable_parallel_tool_use", &Kind::Bool)]),
        ("any", &[may("disable_parallel_tool_use", &Kind::Bool)]),
        ("tool", &[must("name", &Kind::Filled), may("disable_parallel_tool_use", &Kind::Bool)]),
        ("none", &[]),
    ],
);

/// A tool of the caller's own. Tools that run at Anthropic are not looked into.
pub(super) static TOOL: Kind = Kind::Object(&[
    must("name", &Kind::Filled),
    must("input_schema", &Kind::Map),
    may("type", &Kind::Word(&["custom"])),
    may("description", &Kind::Text),
    may("cache_control", &CACHE),
    may("strict", &Kind::Bool),
    may("allowed_callers", &Kind::List(0, &Kind::Text)),
    may("defer_loading", &Kind::Bool),
    may("eager_input_streaming", &Kind::Bool),
    may("input_examples", &Kind::List(0, &Kind::Map)),
]);

pub(super) static FORMAT: Kind =
    Kind::Object(&[must("type", &Kind::Word(&["json_schema"])), must("schema", &Kind::Map)]);

static OUTPUT_CONFIG: Kind = Kind::Object(&[
    may("effort", &Kind::Word(&["low", "medium", "high", "xhigh", "max"])),
    may("format", &FORMAT),
]);

/// `POST /v1/messages`, without `model` and what betas add.
pub(super) static BODY: Kind = Kind::Object(&[
    must("max_tokens", &Kind::Whole(1)),
    must("messages", &Kind::List(0, &MESSAGE)),
    may("cache_control", &CACHE),
    may("container", &Kind::Any),
    may("diagnostics", &Kind::Map),
    may("inference_geo", &Kind::Text),
    may("metadata", &Kind::Object(&[may("user_id", &Kind::Text)])),
    may("output_config", &OUTPUT_CONFIG),
    may("service_tier", &Kind::Word(&["auto", "standard_only"])),
    may("speed", &Kind::Word(&["standard", "fast"])),
    may("stop_sequences", &Kind::List(0, &Kind::Filled)),
    may("stream", &Kind::Bool),
    may("system", &SYSTEM),
    may("temperature", &Kind::Number(0.0, 1.0)),
    may("thinking", &THINKING),
    may("tool_choice", &TOOL_CHOICE),
    may("tools", &Kind::List(0, &Kind::Map)),
    may("top_k", &Kind::Whole(0)),
    may("top_p", &Kind::Number(0.0, 1.0)),
    may("user_profile_id", &Kind::Text),
    may("workspace_id", &Kind::Text),
]);

/// `POST /v1/messages/count_tokens`, without `model`.
pub(super) static COUNT: Kind = Kind::Object(&[
    must("messages", &Kind::List(0, &MESSAGE)),
    may("cache_control", &CACHE),
    may("output_config", &OUTPUT_CONFIG),
    may("speed", &Kind::Word(&["standard", "fast"])),
    may("system", &SYSTEM),
    may("thinking", &THINKING),
    may("tool_choice", &TOOL_CHOICE),
    may("tools", &Kind::List(0, &Kind::Map)),
    may("user_profile_id", &Kind::Text),
    may("workspace_id", &Kind::Text),
]);
