//! `pointsman cache`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Gateway;

#[derive(Debug, Subcommand)]
pub enum Cache {
    /// How the cache's nodes do: entries, hits, embedder, and how far each has followed
    Stats {
        #[command(flatten)]
        gateway: Gateway,
    },
    /// List entries, newest first
    Ls(CacheLs),
    /// Show one entry with its question and its answer
    Show {
        /// Its id, from `cache ls` or an answer's header x-pointsman-cache-entry
        id: String,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Take entries out: those that fulfil all that is given, and of each option one value
    Invalidate(CacheInvalidate),
    /// Fill the cache: send the requests of a file to the gateway; exits with 1 if one fails
    #[command(long_about = crate::commands::cache::WARM_HELP)]
    Warm(CacheWarm),
}

/// Which entries are meant.
#[derive(Clone, Debug, Default, Args)]
pub struct CacheWhich {
    /// Only the entry of this id; several by commas or by giving it again, as with the others
    #[arg(long = "id", value_delimiter = ',', value_name = "ID")]
    pub ids: Vec<String>,
    /// Only entries whose key fits this pattern; `*` stands for any characters
    #[arg(long = "key", value_delimiter = ',', value_name = "PATTERN")]
    pub keys: Vec<String>,
    /// Only entries with this tag
    #[arg(long = "tag", value_delimiter = ',', value_name = "TAG")]
    pub tags: Vec<String>,
    /// Only answers of this model
    #[arg(long = "model", value_delimiter = ',', value_name = "MODEL")]
    pub models: Vec<String>,
    /// Only answers of this provider
    #[arg(long = "provider", value_delimiter = ',', value_name = "SLUG")]
    pub providers: Vec<String>,
    /// Only entries of this namespace
    #[arg(long = "namespace", value_delimiter = ',', value_name = "NAME")]
    pub namespaces: Vec<String>,
    /// Only entries stored before this time: a date, or a moment as in 2026-11-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub before: Option<String>,
    /// Only entries stored so long ago or longer, as in 7d
    #[arg(long, value_name = "TIME", conflicts_with = "before")]
    pub older_than: Option<String>,
}

#[derive(Debug, Args)]
pub struct CacheLs {
    #[command(flatten)]
    pub which: CacheWhich,
    /// How many at most
    #[arg(long, default_value_t = 20, value_name = "ENTRIES")]
    pub limit: usize,
    #[command(flatten)]
    pub gateway: Gateway,
}

#[derive(Debug, Args)]
pub struct CacheInvalidate {
    #[command(flatten)]
    pub which: CacheWhich,
    /// Take out everything that the workspace has in the cache
    #[arg(long, conflicts_with_all = [
        "ids", "keys", "tags", "models", "providers", "namespaces", "before", "older_than",
    ])]
    pub all: bool,
    /// Say how many entries are meant and take none out
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub gateway: Gateway,
}

#[derive(Debug, Args)]
pub struct CacheWarm {
    /// File with a request on each line (JSON); `-` for standard input
    #[arg(long, short, value_name = "FILE")]
    pub file: PathBuf,
    /// Routing config for lines that name none: inline JSON, or the `pc-…` of a stored one
    #[arg(long, value_name = "CONFIG")]
    pub config: Option<String>,
    /// Model for lines that name none
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Requests under way at a time
    #[arg(long, default_value_t = 4, value_name = "REQUESTS", value_parser = at_least_one)]
    pub concurrency: usize,
    /// Gateway to ask; default: the one that runs in the data directory, else `http.listen`
    #[arg(long, value_name = "URL", env = "POINTSMAN_URL")]
    pub url: Option<String>,
    /// File with the API key to show; default: POINTSMAN_KEY, else `admin.key` in the data directory
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "write a number from 1".to_owned())
}
