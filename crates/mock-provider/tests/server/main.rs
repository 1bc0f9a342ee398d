//! The mock provider over real sockets, as its users see it.

mod anthropic;
mod azure;
mod bedrock;
mod bill;
mod binary;
mod cohere;
mod dialects;
mod faults;
mod gemini;
mod harness;
mod log;
mod oauth;
mod ollama;
mod responses;
mod robust;
mod shapes;
mod stopping;
mod structured;
mod vertex;
mod workers_ai;
