//! The dialects of providers, each written after its own documentation.

pub(crate) mod anthropic;
pub(crate) mod azure;
pub(crate) mod bedrock;
pub(crate) mod cohere;
pub(crate) mod gemini;
pub(crate) mod oauth;
pub(crate) mod ollama;
pub(crate) mod openai;
pub(crate) mod vertex;
pub(crate) mod workers_ai;
