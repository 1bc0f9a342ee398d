//! Everything that Cohere knows in a body.

use crate::shape::{Field, Kind, may, must};

static IMAGE_URL: Kind =
    Kind::Object(&[must("url", &Kind::Filled), may("detail", &Kind::Word(&["auto", "low", "high"]))]);

static TEXT: &[Field] = &[must("text", &Kind::Text)];

static DOCUMENT: Kind =
    Kind::Object(&[must("data", &Kind::Either(&[&Kind::Text, &Kind::Map])), may("id", &Kind::Text)]);

static USER: Kind = Kind::Tagged("type", &[("text", TEXT), ("image_url", &[must("image_url", &IMAGE_URL)])]);

static ASSISTANT: Kind =
    Kind::Tagged("type", &[("text", TEXT), ("thinking", &[must("thinking", &Kind::Text)])]);

static RESULT: Kind = Kind::Tagged("type", &[("text", TEXT), ("document", &[must("document", &DOCUMENT)])]);

static CALL: Kind = Kind::Object(&[
    must("id", &Kind::Filled),
    must("type", &Kind::Word(&["function"])),
    must("function", &Kind::Object(&[must("name", &Kind::Filled), must("arguments", &Kind::Text)])),
]);

static MESSAGE: Kind = Kind::Tagged(
    "role",
    &[
        ("user", &[must("content", &Kind::Either(&[&Kind::Text, &Kind::List(1, &USER)]))]),
        ("system", &[must("content", &Kind::Either(&[&Kind::Text, &Kind::List(1, &SYSTEM)]))]),
        (
            "assistant",
            &[
                may("content", &Kind::Either(&[&Kind::Text, &Kind::List(0, &ASSISTANT)])),
                may("tool_calls", &Kind::List(0, &CALL)),
                may("tool_plan", &Kind::Text),
                may("citations", &Kind::List(0, &Kind::Map)),
            ],
        ),
        (
            "tool",
            &[
                must("tool_call_id", &Kind::Filled),
                must("content", &Kind::Either(&[&Kind::Text, &Kind::List(1, &RESULT)])),
            ],
        ),
    ],
);

static SYSTEM: Kind = Kind::Tagged("type", &[("text", TEXT)]);

static TOOL: Kind = Kind::Object(&[
    must("type", &Kind::Word(&["function"])),
    must(
        "function",
        &Kind::Object(&[
            must("name", &Kind::Filled),
            may("description", &Kind::Text),
            must("parameters", &Kind::Map),
        ]),
    ),
]);

static FORMAT: Kind = Kind::Tagged(
    "type",
    &[("text", &[]), ("json_object", &[may("json_schema", &Kind::Map), may("schema", &Kind::Map)])],
);

/// `POST /v2/chat`.
pub(super) static CHAT: Kind = Kind::Object(&[
    must("model", &Kind::Filled),
    must("messages", &Kind::List(1, &MESSAGE)),
    may("stream", &Kind::Bool),
    may("tools", &Kind::List(0, &TOOL)),
    may("tool_choice", &Kind::Word(&["REQUIRED", "NONE"])),
    may("strict_tools", &Kind::Bool),
    may("documents", &Kind::List(0, &Kind::Either(&[&Kind::Text, &DOCUMENT]))),
    may(
        "citation_options",
        &Kind::Object(&[may("mode", &Kind::Word(&["ENABLED", "DISABLED", "FAST", "ACCURATE", "OFF"]))]),
    ),
    may("response_format", &FORMAT),
    may("safety_mode", &Kind::Word(&["CONTEXTUAL", "STRICT", "OFF"])),
    may("max_tokens", &Kind::Whole(0)),
    may("stop_sequences", &Kind::List(0, &Kind::Filled)),
    may("temperature", &Kind::Number(0.0, 1.0)),
    may("seed", &Kind::Whole(0)),
    may("frequency_penalty", &Kind::Number(0.0, 1.0)),
    may("presence_penalty", &Kind::Number(0.0, 1.0)),
    may("k", &Kind::Number(0.0, 500.0)),
    may("p", &Kind::Number(0.01, 0.99)),
    may("logprobs", &Kind::Bool),
    may(
        "thinking",
        &Kind::Object(&[
            must("type", &Kind::Word(&["enabled", "disabled"])),
            may("token_budget", &Kind::Whole(1)),
        ]),
    ),
    may("priority", &Kind::Whole(0)),
]);

static INPUT_TYPES: Kind =
    Kind::Word(&["search_document", "search_query", "classification", "clustering", "image"]);

static INPUT: Kind = Kind::Object(&[must(
    "content",
    &Kind::List(1, &Kind::Tagged("type", &[("text", TEXT), ("image_url", &[must("image_url", &IMAGE_URL)])])),
)]);

/// `POST /v2/embed`.
pub(super) static EMBED: Kind = Kind::Object(&[
    must("model", &Kind::Filled),
    must("input_type", &INPUT_TYPES),
    may("texts", &Kind::List(1, &Kind::Text)),
    may("images", &Kind::List(1, &Kind::Filled)),
    may("inputs", &Kind::List(1, &INPUT)),
    may("max_tokens", &Kind::Whole(1)),
    may("output_dimension", &Kind::Whole(1)),
    may(
        "embedding_types",
        &Kind::List(1, &Kind::Word(&["float", "int8", "uint8", "binary", "ubinary", "base64"])),
    ),
    may("truncate", &Kind::Word(&["NONE", "START", "END"])),
    may("priority", &Kind::Whole(0)),
]);

/// `POST /v2/rerank`.
pub(super) static RERANK: Kind = Kind::Object(&[
    must("model", &Kind::Filled),
    must("query", &Kind::Filled),
    must("documents", &Kind::List(1, &Kind::Text)),
    may("top_n", &Kind::Whole(1)),
    may("max_tokens_per_doc", &Kind::Whole(1)),
    may("priority", &Kind::Whole(0)),
]);
