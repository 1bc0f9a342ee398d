//! `pointsman spend`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Gateway;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Spend {
    #[command(flatten)]
    pub table: SpendTable,
    #[command(subcommand)]
    pub command: Option<SpendCommand>,
}

#[derive(Debug, Args)]
pub struct SpendTable {
    /// What to group by: workspace, api_key, virtual_key, provider, model, operation, config, user, cache_status,
    /// status, hour, day, week, month, metadata.<key>, or several, as in `model,metadata.team`
    #[arg(long, value_delimiter = ',', default_value = "model", value_name = "DIMENSIONS")]
    pub by: Vec<String>,
    #[command(flatten)]
    pub which: SpendWhich,
    /// At most so many rows; default: all
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Print CSV instead of a table
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// What is added up or exported.
#[derive(Debug, Args)]
pub struct SpendWhich {
    /// From this time on: a date, a moment as in 2026-11-01T12:00:00Z, or so long ago, as in 7d
    #[arg(long, default_value = "7d", value_name = "TIME")]
    pub since: String,
    /// Up to this time; a date with its whole day; default: now
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only where a dimension has this value, as in `--filter provider=openai`; several by commas
    #[arg(long = "filter", value_name = "DIMENSION=VALUE")]
    pub filters: Vec<String>,
    #[command(flatten)]
    pub gateway: Gateway,
}

#[derive(Debug, Subcommand)]
pub enum SpendCommand {
    /// Write every attempt of a time into a file
    Export(SpendExport),
}

#[derive(Debug, Args)]
pub struct SpendExport {
    /// csv, jsonl or parquet; default: what the file's name ends with, else csv
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Write here instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub which: SpendWhich,
}
