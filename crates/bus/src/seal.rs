//! Sealed credentials: anybody may close the box, only provider workers can open it.
//!
//! X25519 sealed boxes (libsodium's `crypto_box_seal`). Text form: `sealed:<fingerprint>:<base64>`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crypto_box::aead::OsRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// What sealed text begins with.
pub const PREFIX: &str = "sealed:";

/// Closes boxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(crypto_box::PublicKey);

/// Opens boxes.
#[derive(Clone)]
pub struct PrivateKey(crypto_box::SecretKey);

/// Why a box was not opened, or a key not read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    /// Not text of ours.
    #[error("not a sealed credential")]
    Malformed,
    /// Sealed for somebody else.
    #[error("sealed for key {found}, but this worker has key {ours}: give all workers the same sealing key")]
    OtherKey {
        /// Fingerprint it was sealed for.
        found: String,
        /// Fingerprint of the key at hand.
        ours: String,
    },
    /// The box was damaged.
    #[error("the sealed credential is damaged")]
    Damaged,
    /// Not 32 bytes of base64.
    #[error("a sealing key is 32 bytes in base64")]
    BadKey,
}

impl PublicKey {
    /// Reads base64.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let bytes = BASE64.decode(text.trim()).map_err(|_| SealError::BadKey)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| SealError::BadKey)?;
        Ok(Self(crypto_box::PublicKey::from_bytes(bytes)))
    }

    /// The key in base64.
    pub fn to_text(&self) -> String {
        BASE64.encode(self.0.as_bytes())
    }

    /// Names the key: the first eight hexadecimal digits of its SHA-256.
    pub fn fingerprint(&self) -> String {
        Sha256::digest(self.0.as_bytes()).iter().take(4).map(|b| format!("{b:02x}")).collect()
    }

    /// Seals text; text that is sealed already stays as it is.
    pub fn seal(&self, secret: &str) -> Result<String, SealError> {
        if secret.starts_with(PREFIX) {
            return Ok(secret.to_owned());
        }
        let sealed = self.0.seal(&mut OsRng, secret.as_bytes()).map_err(|_| SealError::Damaged)?;
        Ok(format!("{PREFIX}{}:{}", self.fingerprint(), BASE64.encode(sealed)))
    }
}

impl PrivateKey {
    /// Reads 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(crypto_box::SecretKey::from_bytes(bytes))
    }

    /// Reads base64.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let bytes = Zeroizing::new(BASE64.decode(text.trim()).map_err(|_| SealError::BadKey)?);
        let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| SealError::BadKey)?;
        Ok(Self::from_bytes(bytes))
    }

    /// The key that boxes are closed with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key())
    }

    /// Opens a box.
    pub fn open(&self, sealed: &str) -> Result<Zeroizing<String>, SealError> {
        let rest = sealed.strip_prefix(PREFIX).ok_or(SealError::Malformed)?;
        let (found, text) = rest.split_once(':').ok_or(SealError::Malformed)?;
        let ours = self.public().fingerprint();
        if found != ours {
            return Err(SealError::OtherKey { found: found.to_owned(), ours });
        }
        let bytes = BASE64.decode(text).map_err(|_| SealError::Malformed)?;
        let open = self.0.unseal(&bytes).map_err(|_| SealError::Damaged)?;
        String::from_utf8(open).map(Zeroizing::new).map_err(|_| SealError::Damaged)
    }
}

/// The private keys of a provider worker: the one that credentials are sealed for, and others that are on their way in
/// or out.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// The one to seal for.
    pub current: PrivateKey,
    /// Those that still or already open boxes.
    pub others: Vec<PrivateKey>,
}

impl Keyring {
    /// Opens a box with whichever key it was sealed for.
    pub fn open(&self, sealed: &str) -> Result<Zeroizing<String>, SealError> {
        let first = self.current.open(sealed);
        match &first {
            Err(SealError::OtherKey { found, .. }) => {
                let right = self.others.iter().find(|key| key.public().fingerprint() == *found);
                right.map_or(first, |key| key.open(sealed))
            }
            _ => first,
        }
    }

    /// Whether a public key is one of ours.
    pub fn has(&self, public: &PublicKey) -> bool {
        self.current.public() == *public || self.others.iter().any(|key| key.public() == *public)
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({})", self.public().fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_opens_a_box() {
        let (a, b) = (PrivateKey::from_bytes([7; 32]), PrivateKey::from_bytes([8; 32]));
        let sealed = a.public().seal("sk-canary").unwrap();
        assert!(!sealed.contains("canary"));
        assert_eq!(a.open(&sealed).unwrap().as_str(), "sk-canary");
        assert!(matches!(b.open(&sealed), Err(SealError::OtherKey { .. })));
        assert_eq!(a.open("sk-canary").unwrap_err(), SealError::Malformed);
        assert_eq!(a.public().seal(&sealed).unwrap(), sealed);
    }

    #[test]
    fn a_keyring_opens_what_any_of_its_keys_was_given() {
        let (old, new) = (PrivateKey::from_bytes([7; 32]), PrivateKey::from_bytes([8; 32]));
        let ring = Keyring { current: new.clone(), others: vec![old.clone()] };
        for key in [&old, &new] {
            let sealed = key.public().seal("sk-canary").unwrap();
            assert_eq!(ring.open(&sealed).unwrap().as_str(), "sk-canary");
            assert!(ring.has(&key.public()));
        }
        let stranger = PrivateKey::from_bytes([9; 32]);
        let sealed = stranger.public().seal("sk-canary").unwrap();
        assert!(matches!(ring.open(&sealed), Err(SealError::OtherKey { .. })));
        assert!(!ring.has(&stranger.public()));
    }

    #[test]
    fn keys_print_and_parse_back() {
        let key = PrivateKey::from_bytes([9; 32]).public();
        assert_eq!(PublicKey::parse(&key.to_text()), Ok(key));
        assert_eq!(PublicKey::parse("short"), Err(SealError::BadKey));
    }
}
