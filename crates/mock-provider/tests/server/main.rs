//! The mock provider over real sockets, as its users see it.

mod bill;
mod faults;
mod harness;
mod log;
mod shapes;
mod stopping;
