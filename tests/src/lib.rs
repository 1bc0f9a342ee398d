//! Harness of the system tests.

pub mod bench;
pub mod crash;
pub mod harness;
