//! What the role is told by the settings.

use std::path::PathBuf;

/// What the role is told by the settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the books are.
    pub database: Database,
    /// Most events that are booked in one transaction.
    pub batch: usize,
}

/// Where the books are.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// In a file of this process, which is created if need be.
    File(PathBuf),
    /// In a database that is named by its URL, as in `postgres://…`.
    Url(String),
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Never with a password.
impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Url(url) => match url::Url::parse(url) {
                Ok(url) => {
                    write!(f, "{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
                }
                Err(_) => f.write_str("a URL that cannot be read"),
            },
        }
    }
}
