//! Versions of nats-server.

use std::fmt;

/// The oldest nats-server that can do all that is needed.
pub const MINIMUM: Version = Version { major: 2, minor: 14, patch: 0 };

/// A version of nats-server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Changes rarely.
    pub major: u32,
    /// Brings features.
    pub minor: u32,
    /// Brings corrections.
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Reads `nats-server: v2.15.1`, as `nats-server --version` prints it, or the bare version.
pub fn parse_version(text: &str) -> Option<Version> {
    let word = text.split_whitespace().last()?;
    let numbers = word.trim_start_matches('v').split(['-', '+']).next()?;
    let mut numbers = numbers.split('.').map(|number| number.parse::<u32>().ok());
    let version = Version { major: numbers.next()??, minor: numbers.next()??, patch: numbers.next()?? };
    numbers.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        let version = |text| parse_version(text).map(|v| v.to_string());
        assert_eq!(version("nats-server: v2.15.1\n").as_deref(), Some("2.15.1"));
        assert_eq!(version("2.14.0").as_deref(), Some("2.14.0"));
        assert_eq!(version("nats-server: v2.16.0-RC.1").as_deref(), Some("2.16.0"));
        for bad in ["", "nats-server", "v2", "2.15", "2.15.1.0", "2.x.1"] {
            assert_eq!(version(bad), None, "{bad}");
        }
        assert!(parse_version("2.9.20").unwrap() < MINIMUM);
        assert!(parse_version("2.14.0").unwrap() >= MINIMUM);
        assert!(parse_version("3.0.0").unwrap() > MINIMUM);
    }
}
