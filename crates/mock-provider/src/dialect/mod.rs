//! The dialects of providers, each written after its own documentation.

pub(crate) mod anthropic;
pub(crate) mod bedrock;
pub(crate) mod gemini;
pub(crate) mod oauth;
pub(crate) mod openai;
pub(crate) mod vertex;
