//! Everything that Gemini knows in a body; protobuf's JSON takes no other name.
//! Source: ai.google.dev/api/generate-content, …/api/caching (Content, Part, Tool, Schema), …/api/embeddings.

use crate::shape::{Field, Kind, may, must};

static BLOB: Kind = Kind::Object(&[
    must("mimeType", &Kind::Filled),
    must("data", &Kind::Filled),
    may("displayName", &Kind::Text),
]);

static FILE: Kind = Kind::Object(&[
    may("mimeType", &Kind::Text),
    must("fileUri", &Kind::Filled),
    may("displayName", &Kind::Text),
]);

static CALL: Kind =
    Kind::Object(&[may("id", &Kind::Text), must("name", &Kind::Filled), may("args", &Kind::Map)]);

static RESPONSE: Kind = Kind::Object(&[
    may("id", &Kind::Text),
    must("name", &Kind::Filled),
    must("response", &Kind::Map),
    may("parts", &Kind::List(0, &Kind::Map)),
    may("willContinue", &Kind::Bool),
    may("scheduling", &Kind::Text),
]);

static PART: Kind = Kind::Object(&[
    may("text", &Kind::Text),
    may("inlineData", &BLOB),
    may("fileData", &FILE),
    may("functionCall", &CALL),
    may("functionResponse", &RESPONSE),
    may("executableCode", &Kind::Map),
    may("codeExecutionResult", &Kind::Map),
    may("toolCall", &Kind::Map),
    may("toolResponse", &Kind::Map),
    may("thought", &Kind::Bool),
    may("thoughtSignature", &Kind::Text),
    may("videoMetadata", &Kind::Map),
    may("mediaResolution", &Kind::Any),
    may("partMetadata", &Kind::Map),
]);

/// Fields of a part of which it has exactly one.
pub(super) const DATA: &[&str] = &[
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
];

pub(super) static CONTENT: Kind =
    Kind::Object(&[may("role", &Kind::Text), may("parts", &Kind::List(0, &PART))]);

static TYPES: Kind = Kind::Word(&[
    "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL", "string", "number", "integer",
    "boolean", "array", "object", "null",
]);

static COUNT: Kind = Kind::Either(&[&Kind::Whole(0), &Kind::Filled]);

static ANY_NUMBER: Kind = Kind::Number(f64::MIN, f64::MAX);

/// Google's own part of OpenAPI's schema: no `$ref`, no `additionalProperties`, no lists of types.
static SCHEMA: Kind = Kind::Object(&[
    may("type", &TYPES),
    may("format", &Kind::Text),
    may("title", &Kind::Text),
    may("description", &Kind::Text),
    may("nullable", &Kind::Bool),
    may("enum", &Kind::List(0, &Kind::Text)),
    may("maxItems", &COUNT),
    may("minItems", &COUNT),
    may("properties", &Kind::Names(&SCHEMA)),
    may("required", &Kind::List(0, &Kind::Text)),
    may("minProperties", &COUNT),
    may("maxProperties", &COUNT),
    may("minLength", &COUNT),
    may("maxLength", &COUNT),
    may("pattern", &Kind::Text),
    may("example", &Kind::Any),
    may("anyOf", &Kind::List(0, &SCHEMA)),
    may("propertyOrdering", &Kind::List(0, &Kind::Text)),
    may("default", &Kind::Any),
    may("items", &SCHEMA),
    may("minimum", &ANY_NUMBER),
    may("maximum", &ANY_NUMBER),
]);

static DECLARATION: Kind = Kind::Object(&[
    must("name", &Kind::Filled),
    may("description", &Kind::Text),
    may("parameters", &SCHEMA),
    may("parametersJsonSchema", &Kind::Map),
    may("response", &SCHEMA),
    may("responseJsonSchema", &Kind::Map),
    may("behavior", &Kind::Word(&["UNSPECIFIED", "BLOCKING", "NON_BLOCKING"])),
]);

static TOOL: Kind = Kind::Object(&[
    may("functionDeclarations", &Kind::List(0, &DECLARATION)),
    may("googleSearch", &Kind::Map),
    may("googleSearchRetrieval", &Kind::Map),
    may("codeExecution", &Kind::Map),
    may("urlContext", &Kind::Map),
    may("computerUse", &Kind::Map),
    may("fileSearch", &Kind::Map),
    may("googleMaps", &Kind::Map),
    may("mcpServers", &Kind::List(0, &Kind::Map)),
]);

static TOOL_CONFIG: Kind = Kind::Object(&[
    may(
        "functionCallingConfig",
        &Kind::Object(&[
            may("mode", &Kind::Word(&["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"])),
            may("allowedFunctionNames", &Kind::List(0, &Kind::Text)),
        ]),
    ),
    may("retrievalConfig", &Kind::Map),
    may("includeServerSideToolInvocations", &Kind::Bool),
]);

static SAFETY: Kind = Kind::Object(&[
    must(
        "category",
        &Kind::Word(&[
            "HARM_CATEGORY_HARASSMENT",
            "HARM_CATEGORY_HATE_SPEECH",
            "HARM_CATEGORY_SEXUALLY_EXPLICIT",
            "HARM_CATEGORY_DANGEROUS_CONTENT",
            "HARM_CATEGORY_CIVIC_INTEGRITY",
            "HARM_CATEGORY_UNSPECIFIED",
        ]),
    ),
    must(
        "threshold",
        &Kind::Word(&[
            "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
            "BLOCK_LOW_AND_ABOVE",
            "BLOCK_MEDIUM_AND_ABOVE",
            "BLOCK_ONLY_HIGH",
            "BLOCK_NONE",
            "OFF",
        ]),
    ),
    may("method", &Kind::Text),
]);

static THINKING: Kind = Kind::Object(&[
    may("includeThoughts", &Kind::Bool),
    may("thinkingBudget", &Kind::Whole(-1)),
    may(
        "thinkingLevel",
        &Kind::Word(&[
            "THINKING_LEVEL_UNSPECIFIED",
            "MINIMAL",
            "LOW",
            "MEDIUM",
            "HIGH",
            "minimal",
            "low",
            "medium",
            "high",
        ]),
    ),
]);

static GENERATION: Kind = Kind::Object(&[
    may("stopSequences", &Kind::List(0, &Kind::Filled)),
    may("responseMimeType", &Kind::Word(&["text/plain", "application/json", "text/x.enum"])),
    may("responseSchema", &SCHEMA),
    may("responseJsonSchema", &Kind::Map),
    may("_responseJsonSchema", &Kind::Map),
    may("responseModalities", &Kind::List(0, &Kind::Word(&["TEXT", "IMAGE", "AUDIO"]))),
    may("candidateCount", &Kind::Whole(1)),
    may("maxOutputTokens", &Kind::Whole(1)),
    may("temperature", &Kind::Number(0.0, 2.0)),
    may("topP", &Kind::Number(0.0, 1.0)),
    may("topK", &Kind::Number(1.0, f64::MAX)),
    may("seed", &Kind::Whole(i64::MIN)),
    may("presencePenalty", &Kind::Number(-2.0, 2.0)),
    may("frequencyPenalty", &Kind::Number(-2.0, 2.0)),
    may("responseLogprobs", &Kind::Bool),
    may("logprobs", &Kind::Whole(0)),
    may("enableEnhancedCivicAnswers", &Kind::Bool),
    may("speechConfig", &Kind::Map),
    may("thinkingConfig", &THINKING),
    may("imageConfig", &Kind::Map),
    may("mediaResolution", &Kind::Text),
]);

/// Fields of `GenerateContentRequest`; the place adds its own.
static REQUEST: &[Field] = &[
    must("contents", &Kind::List(1, &CONTENT)),
    may("model", &Kind::Text),
    may("tools", &Kind::List(0, &TOOL)),
    may("toolConfig", &TOOL_CONFIG),
    may("safetySettings", &Kind::List(0, &SAFETY)),
    may("systemInstruction", &CONTENT),
    may("generationConfig", &GENERATION),
    may("cachedContent", &Kind::Text),
    may("serviceTier", &Kind::Text),
    may("store", &Kind::Bool),
];

/// `:generateContent` and `:streamGenerateContent`.
pub(super) static BODY: Kind = Kind::Object(REQUEST);

/// `:countTokens`.
pub(super) static TOKENS: Kind = Kind::Object(&[
    may("contents", &Kind::List(1, &CONTENT)),
    may("generateContentRequest", &BODY),
    // Vertex AI counts these, too.
    may("systemInstruction", &CONTENT),
    may("tools", &Kind::List(0, &TOOL)),
    may("generationConfig", &GENERATION),
    may("model", &Kind::Text),
]);

/// `:embedContent`, and each element of `:batchEmbedContents`.
pub(super) static EMBED: Kind = Kind::Object(&[
    may("model", &Kind::Text),
    must("content", &CONTENT),
    may(
        "taskType",
        &Kind::Word(&[
            "TASK_TYPE_UNSPECIFIED",
            "RETRIEVAL_QUERY",
            "RETRIEVAL_DOCUMENT",
            "SEMANTIC_SIMILARITY",
            "CLASSIFICATION",
            "CLUSTERING",
            "QUESTION_ANSWERING",
            "FACT_VERIFICATION",
            "CODE_RETRIEVAL_QUERY",
        ]),
    ),
    may("title", &Kind::Text),
    may("outputDimensionality", &Kind::Whole(1)),
]);

/// `:batchEmbedContents`.
pub(super) static EMBED_MANY: Kind = Kind::Object(&[must("requests", &Kind::List(1, &EMBED))]);
