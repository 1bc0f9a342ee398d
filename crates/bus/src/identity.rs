//! Who a request belongs to, said by one role and believed by another: a MAC under the cluster's secret.

use std::sync::Arc;

use domain::policy::{ApiKey, Identity, Policy, Refused};
use domain::{Slug, Timestamp, Workspace};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Shared by all roles of one installation. 32 bytes.
#[derive(Clone)]
pub struct ClusterSecret([u8; 32]);

impl std::fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterSecret(…)")
    }
}

/// Why an identity was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unbelievable {
    /// Not text of ours.
    #[error("the identity is malformed")]
    Malformed,
    /// Made under another secret, or for something else.
    #[error("the identity was not made by this installation; give all roles the same `auth.cluster_secret`")]
    Forged,
    /// Too old.
    #[error("the identity has expired")]
    Expired,
}

/// How access is controlled.
#[derive(Clone, Debug)]
pub struct Access {
    /// Everybody has to show an API key. Otherwise who shows none is an administrator of the default workspace.
    pub required: bool,
    /// Under which roles believe each other. None: only where access is not controlled.
    pub secret: Option<ClusterSecret>,
    /// Producers may show API keys on messages.
    pub keys_over_nats: bool,
}

impl Default for Access {
    fn default() -> Self {
        Self { required: false, secret: None, keys_over_nats: true }
    }
}

impl Access {
    /// What one role tells another.
    pub fn say(&self, identity: &Identity, subject: &str, expires: Timestamp) -> String {
        match &self.secret {
            Some(secret) => secret.sign(identity, subject, expires),
            None => claims(identity, expires),
        }
    }

    /// What another role said. Without a secret, which only goes where access is not controlled, it is taken at its
    /// word.
    pub fn believe(&self, text: &str, subject: &str, at: Timestamp) -> Result<Identity, Unbelievable> {
        match &self.secret {
            Some(secret) => secret.verify(text, subject, at),
            None if self.required => Err(Unbelievable::Forged),
            None => read(text.splitn(4, ';').take(3), at),
        }
    }
}

/// The API key that a text is, if it may be used now.
pub fn authenticate(policy: &Policy, text: &str, now: Timestamp) -> Result<Arc<ApiKey>, Refused> {
    let (id, secret) = ApiKey::take_apart(text).ok_or(Refused::Invalid)?;
    let key = policy.api_key(&id).filter(|key| is_secret_of(key, secret, now)).ok_or(Refused::Invalid)?;
    key.usable(policy, now)?;
    Ok(key)
}

fn claims(identity: &Identity, expires: Timestamp) -> String {
    let key = identity.key.as_ref().map_or("", Slug::as_str);
    format!("{};{key};{}", identity.workspace, expires.0)
}

fn read<'a>(mut words: impl Iterator<Item = &'a str>, at: Timestamp) -> Result<Identity, Unbelievable> {
    let (Some(workspace), Some(key), Some(expires), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Unbelievable::Malformed);
    };
    let expires: u64 = expires.parse().map_err(|_| Unbelievable::Malformed)?;
    if Timestamp(expires) <= at {
        return Err(Unbelievable::Expired);
    }
    let key = match key {
        "" => None,
        id => Some(Slug::parse(id).map_err(|_| Unbelievable::Malformed)?),
    };
    Ok(Identity { workspace: Workspace::parse(workspace).map_err(|_| Unbelievable::Malformed)?, key })
}

impl ClusterSecret {
    /// A secret of 32 bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Says whose request this is. `subject` is what it is good for: the request's id, or the word for another use.
    ///
    /// Text form: `<workspace>;<key id>;<expiry in ms>;<hexadecimal HMAC-SHA-256>`.
    pub fn sign(&self, identity: &Identity, subject: &str, expires: Timestamp) -> String {
        let claims = claims(identity, expires);
        let mac = self.mac(&claims, subject);
        format!("{claims};{}", hexadecimal(&mac))
    }

    /// Believes an identity that was made under this secret for this subject and has not expired.
    pub fn verify(&self, text: &str, subject: &str, now: Timestamp) -> Result<Identity, Unbelievable> {
        let (claims, mac) = text.rsplit_once(';').ok_or(Unbelievable::Malformed)?;
        let expected = hexadecimal(&self.mac(claims, subject));
        if !bool::from(expected.as_bytes().ct_eq(mac.as_bytes())) {
            return Err(Unbelievable::Forged);
        }
        read(claims.split(';'), now)
    }

    fn mac(&self, claims: &str, subject: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        // Lengths first, so that no other claims and subject give the same bytes.
        mac.update(&(claims.len() as u64).to_be_bytes());
        mac.update(claims.as_bytes());
        mac.update(subject.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// SHA-256 in hexadecimal, as API keys keep of their secrets.
pub fn hash(secret: &str) -> String {
    hexadecimal(&Sha256::digest(secret.as_bytes()))
}

/// Whether a secret is the key's, or was until a rotation whose overlap is not over. Takes the same time for every
/// wrong secret.
pub fn is_secret_of(key: &ApiKey, secret: &str, now: Timestamp) -> bool {
    let shown = hash(secret);
    let same = |kept: &str| bool::from(kept.as_bytes().ct_eq(shown.as_bytes()));
    let previous = key.previous.as_ref().is_some_and(|previous| same(&previous.hash) && previous.until > now);
    same(&key.hash) || previous
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_good_for_one_thing_and_a_while() {
        let secret = ClusterSecret::new([1; 32]);
        let identity =
            Identity { workspace: Workspace::parse("acme").unwrap(), key: Some(Slug::parse("k1").unwrap()) };
        let text = secret.sign(&identity, "r1", Timestamp(1000));
        assert_eq!(secret.verify(&text, "r1", Timestamp(999)), Ok(identity.clone()));
        assert_eq!(secret.verify(&text, "r1", Timestamp(1000)), Err(Unbelievable::Expired));
        assert_eq!(secret.verify(&text, "r2", Timestamp(1)), Err(Unbelievable::Forged));
        let other = text.replace("acme", "acne");
        assert_eq!(secret.verify(&other, "r1", Timestamp(1)), Err(Unbelievable::Forged));
        let elsewhere = ClusterSecret::new([2; 32]);
        assert_eq!(elsewhere.verify(&text, "r1", Timestamp(1)), Err(Unbelievable::Forged));
        assert_eq!(secret.verify("x", "r1", Timestamp(1)), Err(Unbelievable::Malformed));
        let nobody = Identity::default();
        let text = secret.sign(&nobody, "r1", Timestamp(1000));
        assert_eq!(secret.verify(&text, "r1", Timestamp(1)), Ok(nobody));
    }

    #[test]
    fn a_rotated_secret_is_good_until_the_overlap_is_over() {
        let stamp = serde_json::json!({ "at": 1, "by": "cli" });
        let key: ApiKey = serde_json::from_value(serde_json::json!({
            "id": "k1", "kind": "workspace-service", "workspace": "default", "name": "k", "scopes": [],
            "hash": hash("new"), "previous": { "hash": hash("old"), "until": 1000 },
            "created": stamp, "updated": stamp,
        }))
        .unwrap();
        assert!(is_secret_of(&key, "new", Timestamp(5000)));
        assert!(is_secret_of(&key, "old", Timestamp(999)));
        assert!(!is_secret_of(&key, "old", Timestamp(1000)));
        assert!(!is_secret_of(&key, "other", Timestamp(1)));
    }
}
