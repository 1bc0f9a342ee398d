//! Commands about the ledger.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Add up every dimension, compare, and list what is not certain; exits with 1 if sums differ
    Check,
    /// Make the books anew from the events that are kept, compare row by row, and put them in place
    Rebuild,
    /// Count costs again from the tokens, with the prices that are known now
    Reprice(LedgerReprice),
}

#[derive(Debug, Args)]
pub struct LedgerReprice {
    /// Only what ended at this time or later: a date, as in 2026-11-01, or so long ago, as in 7d
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only what ended before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only attempts at this provider
    #[arg(long, value_name = "SLUG")]
    pub provider: Option<String>,
    /// Only attempts with this model
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
}
