//! Names of requests, attempts and workspaces. All of them are single NATS subject tokens.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest id a caller may choose, in bytes.
pub const MAX_LEN: usize = 64;

/// Why a name was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a valid id: use 1 to {MAX_LEN} letters, digits, `-` or `_`")]
pub struct InvalidId(pub String);

fn check(text: &str) -> Result<(), InvalidId> {
    let ok = (1..=MAX_LEN).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if ok { Ok(()) } else { Err(InvalidId(text.chars().take(MAX_LEN).collect())) }
}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks that the text is one subject token of at most [`MAX_LEN`] bytes.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                check(text).map(|()| Self(text.to_owned()))
            }

            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                check(&text).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

token! {
    /// The isolated unit that a request, key and budget belong to.
    Workspace
}

token! {
    /// What a stored entity is named by.
    Slug
}

/// One call by a client. Chosen by the caller, made by a gateway, or derived from the broker's position.
///
/// Outside the default workspace it begins with `<workspace>~`, which no caller can write, so that nobody meets
/// another workspace's requests by choosing their ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(String);

/// What separates the workspace from the id.
const SCOPE: char = '~';

impl RequestId {
    /// Reads an id as callers may choose it.
    pub fn choose(text: &str) -> Result<Self, InvalidId> {
        check(text).map(|()| Self(text.to_owned()))
    }

    /// Reads an id as it travels between roles.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if let Some((workspace, local)) = text.split_once(SCOPE) {
            check(workspace)?;
            check(local)?;
            return Ok(Self(text.to_owned()));
        }
        Self::choose(text)
    }

    /// The id inside a workspace.
    #[must_use]
    pub fn within(self, workspace: &Workspace) -> Self {
        if *workspace == Workspace::default() {
            return self;
        }
        Self(format!("{workspace}{SCOPE}{}", self.local()))
    }

    /// The workspace it belongs to.
    pub fn workspace(&self) -> Workspace {
        let named = self.0.split_once(SCOPE).and_then(|(workspace, _)| Workspace::parse(workspace).ok());
        named.unwrap_or_default()
    }

    /// What the caller knows it by.
    pub fn local(&self) -> &str {
        self.0.split_once(SCOPE).map_or(&self.0, |(_, local)| local)
    }

    /// The whole text: one subject token.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An id for a message that came without one: the same on every router, because it is made of the
    /// broker's own sequence and timestamp (nanoseconds).
    pub fn from_position(sequence: u64, published_nanos: i128) -> Self {
        Self(format!("q{}-{}", base36(u128::from(sequence)), base36(published_nanos.unsigned_abs())))
    }

    /// A fresh id that sorts by time; `random` must come from a good source.
    pub fn fresh(now_ms: u64, random: u64) -> Self {
        Self(format!("r{:0>9}{:0>13}", base36(u128::from(now_ms)), base36(u128::from(random))))
    }

    /// Whether it looks like one of those that are made here and not chosen by a caller.
    pub fn is_made_here(&self) -> bool {
        let digits = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        };
        let position = |rest: &str| {
            rest.split_once('-').is_some_and(|(sequence, time)| digits(sequence) && digits(time))
        };
        match self.local().split_at_checked(1) {
            Some(("r", rest)) => rest.len() == 22 && digits(rest),
            Some(("q", rest)) => position(rest),
            _ => false,
        }
    }
}

impl TryFrom<String> for RequestId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::parse(&text)
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> String {
        id.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

fn base36(mut n: u128) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = u8::try_from(n % 36).unwrap_or_default();
        digits.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
        n /= 36;
        if n == 0 {
            break;
        }
    }
    digits.iter().rev().map(|b| char::from(*b)).collect()
}

/// One try at one target: the request and the number of the try, counted from 1. Printed as `<request>.<number>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttemptId {
    /// The request this is a try of.
    pub request: RequestId,
    /// Counted from 1 in the order the router decided.
    pub number: u32,
}

impl AttemptId {
    /// Names one try of a request.
    pub fn new(request: RequestId, number: u32) -> Self {
        Self { request, number }
    }

    /// Reads `<request>.<number>`.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId(text.to_owned());
        let (request, number) = text.rsplit_once('.').ok_or_else(invalid)?;
        Ok(Self { request: RequestId::parse(request)?, number: number.parse().map_err(|_| invalid())? })
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.request, self.number)
    }
}

impl Serialize for AttemptId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AttemptId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_subject_tokens_are_ids() {
        for good in ["a", "A-b_9", &"x".repeat(64)] {
            assert!(RequestId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a.b", "a b", "*", ">", "é", &"x".repeat(65)] {
            assert!(RequestId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn callers_cannot_reach_into_another_workspace() {
        let acme = Workspace::parse("acme").unwrap();
        let id = RequestId::choose("r1").unwrap().within(&acme);
        assert_eq!((id.as_str(), id.local()), ("acme~r1", "r1"));
        assert_eq!(RequestId::parse("acme~r1"), Ok(id.clone()));
        assert_eq!(id.clone().within(&acme), id);
        assert!(RequestId::choose("acme~r1").is_err());
        assert!(RequestId::parse("acme~r1~x").is_err());
        let plain = RequestId::choose("r1").unwrap();
        assert_eq!(plain.clone().within(&Workspace::default()), plain);
    }

    #[test]
    fn attempt_ids_print_and_parse_back() {
        let id = AttemptId::new(RequestId::fresh(1_763_000_000_000, 42), 3);
        assert_eq!(AttemptId::parse(&id.to_string()), Ok(id));
        assert!(AttemptId::parse("no-number").is_err());
    }

    #[test]
    fn fresh_ids_sort_by_time_and_fit() {
        let (a, b) = (RequestId::fresh(1_763_000_000_000, u64::MAX), RequestId::fresh(1_763_000_000_001, 0));
        assert!(a < b);
        let position = RequestId::from_position(u64::MAX, i128::from(i64::MAX));
        assert!(RequestId::parse(position.as_str()).is_ok());
        let acme = Workspace::parse("acme").unwrap();
        for ours in [a, b, position.clone(), position.within(&acme)] {
            assert!(ours.is_made_here(), "{ours}");
        }
        for other in ["r1", "order-4711", "q-1", "67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b"] {
            assert!(!RequestId::choose(other).unwrap().is_made_here(), "{other}");
        }
    }
}
