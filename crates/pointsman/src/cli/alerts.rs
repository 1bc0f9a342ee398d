//! `pointsman alerts`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum Alerts {
    /// List the rules, what they say is wrong, and since when
    Ls,
    /// List what was said, and what became of it at each channel
    History {
        /// How far back, as in `24h`; at most 30 days are kept
        #[arg(long, default_value = "7d", value_name = "TIME")]
        since: String,
    },
    /// Send a test notice the way that real ones go, and print what the channels answer
    Test {
        /// The channel; default: all
        channel: Option<String>,
    },
}
