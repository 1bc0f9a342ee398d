//! The command line of what administrators store: documents, keys, workspaces, and what was decided.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Which gateway is asked, and in whose name.
#[derive(Clone, Debug, Default, Args)]
pub struct Gateway {
    /// Gateway to ask; default: the one that runs in the data directory, else `http.listen`
    #[arg(long, value_name = "URL", env = "POINTSMAN_URL")]
    pub url: Option<String>,
    /// File with the API key to show; default: POINTSMAN_KEY, else `admin.key` in the data directory
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Workspace; default: the API key's own
    #[arg(long, short, value_name = "WORKSPACE")]
    pub workspace: Option<String>,
}

/// What is applied or compared.
#[derive(Clone, Debug, Args)]
pub struct Files {
    /// File or folder with documents (JSON or TOML); may be given several times
    #[arg(long = "file", short = 'f', value_name = "PATH", required = true)]
    pub files: Vec<PathBuf>,
    /// Also archive what was applied earlier under the same owner and is in no file any more
    #[arg(long)]
    pub prune: bool,
    /// Name under which documents are applied; folders that are applied separately need different ones
    #[arg(long, default_value = "apply", value_name = "NAME")]
    pub owner: String,
    /// Take credentials in the files for changed: what is stored cannot be compared with them
    #[arg(long)]
    pub resend_secrets: bool,
}

#[derive(Debug, Args)]
pub struct Apply {
    #[command(flatten)]
    pub files: Files,
    /// Show what would change and change nothing; exits with 0 if nothing would, with 2 if something would
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub gateway: Gateway,
}

#[derive(Debug, Args)]
pub struct Diff {
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub gateway: Gateway,
}

/// Kinds of stored entities, as one asks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kinds {
    /// Routing documents
    #[value(alias = "config")]
    Configs,
    /// Provider accounts
    #[value(alias = "virtual-key")]
    VirtualKeys,
    /// What callers show
    #[value(alias = "api-key")]
    ApiKeys,
    /// The isolated units that everything belongs to
    #[value(alias = "workspace")]
    Workspaces,
    /// Provider accounts in their newer form
    #[value(alias = "provider")]
    Providers,
    /// Budgets on requests that fulfil conditions
    #[value(alias = "usage-policy")]
    UsagePolicies,
    /// Rates of requests that fulfil conditions
    #[value(alias = "rate-policy")]
    RatePolicies,
}

#[derive(Debug, Args)]
pub struct Get {
    /// What to look at
    #[arg(value_enum)]
    pub kind: Kinds,
    /// Only this one, whole
    pub slug: Option<String>,
    /// Archived ones instead of active ones
    #[arg(long)]
    pub archived: bool,
    #[command(flatten)]
    pub gateway: Gateway,
}

#[derive(Debug, Args)]
pub struct Rollback {
    /// The config's `pc-…`
    pub config: String,
    /// Version to go back to; default: the one before the version in force
    #[arg(long, value_name = "VERSION")]
    pub to: Option<u32>,
    #[command(flatten)]
    pub gateway: Gateway,
}

#[derive(Debug, Args)]
pub struct History {
    /// The config's `pc-…`
    pub config: String,
    #[command(flatten)]
    pub gateway: Gateway,
}

#[derive(Debug, Args)]
pub struct Lint {
    /// Configs, or documents as for `apply`; folders are searched
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// What an API key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyType {
    /// An application in one workspace
    WorkspaceService,
    /// A person in one workspace
    WorkspaceUser,
    /// Administers the whole installation
    OrganisationService,
}

#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key and print it: it is shown this once
    Create {
        /// Its name for people
        name: String,
        /// What it is for
        #[arg(long = "type", value_enum, default_value = "workspace-service")]
        kind: KeyType,
        /// What it may do, as in `completions.write` or `configs.*`; default: what its type usually needs
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// Config of requests that bring none
        #[arg(long, value_name = "SLUG")]
        config: Option<String>,
        /// Key-value pair that its requests carry
        #[arg(long = "metadata", value_name = "KEY=VALUE")]
        metadata: Vec<String>,
        /// When it stops working: a date as in 2027-01-31T00:00:00Z, or a time from now as in 30d
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        /// What it is for, in words
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Write the key into this file, which must not exist, instead of printing it
        #[arg(long, value_name = "FILE")]
        key_out: Option<PathBuf>,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// List keys
    Ls {
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Replace a key's secret and print the new key
    Rotate {
        /// Its id, from `keys ls`
        id: String,
        /// How long the old secret stays good
        #[arg(long, default_value = "0s", value_name = "DURATION")]
        overlap: String,
        /// Write the key into this file, which must not exist, instead of printing it
        #[arg(long, value_name = "FILE")]
        key_out: Option<PathBuf>,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Make a key worthless at once
    Revoke {
        /// Its id, from `keys ls`
        id: String,
        #[command(flatten)]
        gateway: Gateway,
    },
}

/// Where the credential of a virtual key comes from. It is never an argument: others can read those.
#[derive(Clone, Debug, Default, Args)]
#[group(multiple = false)]
pub struct Credential {
    /// Environment variable of this command that holds the credential; default: it is read from standard input
    #[arg(long, value_name = "NAME")]
    pub key_env: Option<String>,
    /// Environment variable of the provider workers: the credential itself is not stored
    #[arg(long, value_name = "NAME")]
    pub secret_env: Option<String>,
    /// File that the provider workers can read: the credential itself is not stored
    #[arg(long, value_name = "PATH")]
    pub secret_file: Option<String>,
    /// The provider wants no credential
    #[arg(long)]
    pub no_key: bool,
}

#[derive(Debug, Subcommand)]
pub enum VirtualKeys {
    /// Store a provider account; its credential is read from standard input unless a flag says otherwise
    Create {
        /// What requests name it by, as in `@openai-prod`
        slug: String,
        /// Provider in the settings or the catalogue
        #[arg(long, value_name = "SLUG")]
        provider: String,
        /// Its name for people; default: the slug
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Model that may be asked for, `*` for any text; several times for several
        #[arg(long = "model", value_name = "PATTERN")]
        models: Vec<String>,
        /// Operation that may be asked for; several times for several
        #[arg(long = "operation", value_name = "OPERATION")]
        operations: Vec<String>,
        /// When it stops working: a date as in 2027-01-31T00:00:00Z, or a time from now as in 30d
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        /// URL instead of the provider's own
        #[arg(long, value_name = "URL")]
        custom_host: Option<String>,
        #[command(flatten)]
        credential: Credential,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// List provider accounts
    Ls {
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Replace the credential; the next attempt uses the new one
    Rotate {
        /// Its slug
        slug: String,
        #[command(flatten)]
        credential: Credential,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Archive it; no further attempt uses it
    Revoke {
        /// Its slug
        slug: String,
        #[command(flatten)]
        gateway: Gateway,
    },
}

#[derive(Debug, Subcommand)]
pub enum Workspaces {
    /// Make one
    Create {
        /// Its name in subjects and addresses
        slug: String,
        /// Its name for people; default: the slug
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        gateway: Gateway,
    },
    /// List them
    Ls {
        #[command(flatten)]
        gateway: Gateway,
    },
    /// Archive one: its keys stop working
    Archive {
        /// Its slug
        slug: String,
        #[command(flatten)]
        gateway: Gateway,
    },
}

#[derive(Debug, Args)]
pub struct Limits {
    /// Only those that are used up
    #[arg(long)]
    pub exhausted: bool,
    #[command(flatten)]
    pub gateway: Gateway,
}

#[derive(Debug, Args)]
pub struct Audit {
    /// Only what happened in this time, as in 1h or 7d
    #[arg(long, default_value = "24h", value_name = "DURATION")]
    pub since: String,
    /// Only what this API key did (its id)
    #[arg(long, value_name = "ID")]
    pub actor: Option<String>,
    /// Only what happened to this kind of entity, as in `config`
    #[arg(long, value_name = "KIND")]
    pub resource: Option<String>,
    /// Only this, as in `config.update`
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// How many at most, the newest first
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    #[command(flatten)]
    pub gateway: Gateway,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// The request's id, from the header `pointsman-request-id`
    pub request: String,
    #[command(flatten)]
    pub gateway: Gateway,
}

#[derive(Debug, Subcommand)]
pub enum Route {
    /// Play a config against made-up outcomes, offline, and print every decision with its reason
    Try(Try),
}

#[derive(Debug, Args)]
pub struct Try {
    /// The config (JSON or TOML), or a document of kind `config`
    #[arg(long, short, value_name = "FILE")]
    pub file: PathBuf,
    /// The request's body; default: a short chat
    #[arg(long, value_name = "FILE")]
    pub request: Option<PathBuf>,
    /// What each attempt brings, separated by commas: a status such as 429, `429/retry-after=2`, `200/took=3s`, or a
    /// word such as `timeout`, `lost`, `queue_full`
    #[arg(long, value_name = "LIST", default_value = "200")]
    pub outcomes: String,
    /// A header of the caller
    #[arg(long = "header", short = 'H', value_name = "NAME:VALUE")]
    pub headers: Vec<String>,
    /// A key-value pair of the caller's metadata
    #[arg(long = "metadata", short = 'm', value_name = "KEY=VALUE")]
    pub metadata: Vec<String>,
    /// Operation: chat, completions or embeddings
    #[arg(long, default_value = "chat")]
    pub operation: String,
    /// Lane: interactive, normal or bulk
    #[arg(long, default_value = "interactive")]
    pub lane: String,
    /// Randomness for load balancing: the same seed, the same choice
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// When the request comes, as in 2027-01-31T08:30:00Z; default: now
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Time that the request has; default: `deadlines.interactive`
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
}
