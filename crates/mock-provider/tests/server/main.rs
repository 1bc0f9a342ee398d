//! The mock provider over real sockets, as its users see it.

mod anthropic;
mod bedrock;
mod bill;
mod dialects;
mod faults;
mod gemini;
mod harness;
mod log;
mod oauth;
mod shapes;
mod stopping;
mod vertex;
