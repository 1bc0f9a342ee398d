//! A chat as every dialect means it: what requests, answers and streams are turned into when the caller speaks another
//! dialect than the provider.
//!
//! Readers of a format make these types from bytes, writers make bytes from them; nothing in here knows a format.
//! What a dialect has and these types lack is kept by name, so that a writer either says it or reports it.

mod answer;
mod blocks;
mod error;
mod replay;
mod request;
mod stream;

pub use answer::{About, Answer, Choice, Finish, Reason};
pub use blocks::Blocks;
pub use error::ProviderError;
pub use replay::replay;
pub use request::{
    Cache, Dialect, Effort, Function, Message, Part, PartKind, Reasoning, Request, ResponseFormat, Role,
    Source, Target, Tool, ToolChoice, Written,
};
pub use stream::{Block, Broken, Delta, Event, MAX_EVENT, ReadEvents, Start, WriteEvents};
