//! Everything that Converse knows in a body.
//! Source: the service model of AWS's own SDKs (bedrock-runtime, 2023-09-30).

use crate::shape::{Field, Kind, may, must};

static S3: Kind = Kind::Object(&[must("uri", &Kind::Filled), may("bucketOwner", &Kind::Text)]);

static BYTES: Kind = Kind::OneOf(&[may("bytes", &Kind::Filled), may("s3Location", &S3)]);

static IMAGE: Kind =
    Kind::Object(&[must("format", &Kind::Word(&["png", "jpeg", "gif", "webp"])), must("source", &BYTES)]);

static CITATIONS: Kind = Kind::Object(&[must("enabled", &Kind::Bool)]);

static DOCUMENT: Kind = Kind::Object(&[
    may("format", &Kind::Word(&["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"])),
    must("name", &Kind::Filled),
    must("source", &DOCUMENT_SOURCE),
    may("context", &Kind::Text),
    may("citations", &CITATIONS),
]);

static DOCUMENT_SOURCE: Kind = Kind::OneOf(&[
    may("bytes", &Kind::Filled),
    may("s3Location", &S3),
    may("text", &Kind::Filled),
    may("content", &Kind::List(1, &Kind::OneOf(&[may("text", &Kind::Filled)]))),
]);

static VIDEO: Kind = Kind::Object(&[
    must("format", &Kind::Word(&["mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp"])),
    must("source", &BYTES),
]);

static AUDIO: Kind = Kind::Object(&[
    must(
        "format",
        &Kind::Word(&[
            "mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga",
            "pcm", "webm",
        ]),
    ),
    must("source", &BYTES),
]);

static CACHE_POINT: Kind =
    Kind::Object(&[must("type", &Kind::Word(&["default"])), may("ttl", &Kind::Word(&["5m", "1h"]))]);

static SEARCH_RESULT: Kind = Kind::Object(&[
    must("source", &Kind::Text),
    must("title", &Kind::Text),
    must("content", &Kind::List(1, &Kind::Object(&[must("text", &Kind::Filled)]))),
    may("citations", &CITATIONS),
]);

static TOOL_USE: Kind = Kind::Object(&[
    must("toolUseId", &Kind::Filled),
    must("name", &Kind::Filled),
    must("input", &Kind::Any),
    may("type", &Kind::Word(&["server_tool_use"])),
]);

static TOOL_RESULT: Kind = Kind::Object(&[
    must("toolUseId", &Kind::Filled),
    must(
        "content",
        &Kind::List(
            0,
            &Kind::OneOf(&[
                may("json", &Kind::Map),
                may("text", &Kind::Text),
                may("image", &IMAGE),
                may("document", &DOCUMENT),
                may("video", &VIDEO),
                may("searchResult", &SEARCH_RESULT),
            ]),
        ),
    ),
    may("status", &Kind::Word(&["success", "error"])),
    may("type", &Kind::Text),
]);

static REASONING: Kind = Kind::OneOf(&[
    may("reasoningText", &Kind::Object(&[must("text", &Kind::Text), may("signature", &Kind::Text)])),
    may("redactedContent", &Kind::Filled),
]);

static BLOCK: &[Field] = &[
    may("text", &Kind::Text),
    may("image", &IMAGE),
    may("document", &DOCUMENT),
    may("video", &VIDEO),
    may("audio", &AUDIO),
    may("toolUse", &TOOL_USE),
    may("toolResult", &TOOL_RESULT),
    may("guardContent", &Kind::Map),
    may("cachePoint", &CACHE_POINT),
    may("reasoningContent", &REASONING),
    may("citationsContent", &Kind::Map),
    may("searchResult", &SEARCH_RESULT),
];

static MESSAGE: Kind = Kind::Object(&[
    must("role", &Kind::Word(&["user", "assistant", "system"])),
    must("content", &Kind::List(1, &Kind::OneOf(BLOCK))),
]);

static SYSTEM: Kind = Kind::OneOf(&[
    may("text", &Kind::Filled),
    may("guardContent", &Kind::Map),
    may("cachePoint", &CACHE_POINT),
]);

static INFERENCE: Kind = Kind::Object(&[
    may("maxTokens", &Kind::Whole(1)),
    may("temperature", &Kind::Number(0.0, 1.0)),
    may("topP", &Kind::Number(0.0, 1.0)),
    may("stopSequences", &Kind::List(0, &Kind::Filled)),
]);

static TOOL: Kind = Kind::OneOf(&[
    may(
        "toolSpec",
        &Kind::Object(&[
            must("name", &Kind::Filled),
            may("description", &Kind::Filled),
            must("inputSchema", &Kind::OneOf(&[may("json", &Kind::Map)])),
            may("strict", &Kind::Bool),
        ]),
    ),
    may("systemTool", &Kind::Object(&[must("name", &Kind::Filled)])),
    may("cachePoint", &CACHE_POINT),
]);

static TOOL_CONFIG: Kind = Kind::Object(&[
    must("tools", &Kind::List(1, &TOOL)),
    may(
        "toolChoice",
        &Kind::OneOf(&[
            may("auto", &Kind::Object(&[])),
            may("any", &Kind::Object(&[])),
            may("tool", &Kind::Object(&[must("name", &Kind::Filled)])),
        ]),
    ),
]);

static JSON_SCHEMA: Kind =
    Kind::Object(&[must("schema", &Kind::Filled), may("name", &Kind::Text), may("description", &Kind::Text)]);

static OUTPUT_CONFIG: Kind = Kind::Object(&[
    may(
        "textFormat",
        &Kind::Object(&[
            must("type", &Kind::Word(&["json_schema"])),
            must("structure", &Kind::OneOf(&[may("jsonSchema", &JSON_SCHEMA)])),
        ]),
    ),
    may("effort", &Kind::Text),
]);

static GUARDRAIL: Kind = Kind::Object(&[
    may("guardrailIdentifier", &Kind::Text),
    may("guardrailVersion", &Kind::Text),
    may("trace", &Kind::Word(&["enabled", "disabled", "enabled_full"])),
    may("streamProcessingMode", &Kind::Word(&["sync", "async"])),
]);

/// `POST /model/{id}/converse`.
pub(super) static BODY: Kind = Kind::Object(&[
    may("messages", &Kind::List(1, &MESSAGE)),
    may("system", &Kind::List(0, &SYSTEM)),
    may("inferenceConfig", &INFERENCE),
    may("toolConfig", &TOOL_CONFIG),
    may("guardrailConfig", &GUARDRAIL),
    may("additionalModelRequestFields", &Kind::Map),
    may("promptVariables", &Kind::Map),
    may("additionalModelResponseFieldPaths", &Kind::List(0, &Kind::Filled)),
    may("requestMetadata", &Kind::Map),
    may("performanceConfig", &Kind::Object(&[may("latency", &Kind::Word(&["standard", "optimized"]))])),
    may(
        "serviceTier",
        &Kind::Object(&[must("type", &Kind::Word(&["priority", "default", "flex", "reserved"]))]),
    ),
    may("outputConfig", &OUTPUT_CONFIG),
]);
