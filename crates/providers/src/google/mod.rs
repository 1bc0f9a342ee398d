//! Google's service accounts: from a key file to the request for an access token. No sockets and no clock: whoever
//! calls Google sends [`token_form`] to [`ServiceAccount::token_uri`] and gives the answer to [`read_token`].
//!
//! Source: "Using OAuth 2.0 for Server to Server Applications" in Google's identity documentation.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value, json};

#[cfg(test)]
mod tests;

/// The scope that covers Vertex AI.
pub const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Where tokens are had if the key file does not say.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// How long an assertion is valid, in seconds: the most that Google takes.
const LIFETIME: u64 = 3600;

/// The key of a service account, as Google's console hands it out. Printing it shows no secret.
pub struct ServiceAccount {
    /// The account.
    pub client_email: String,
    /// Where its assertions are exchanged for tokens.
    pub token_uri: String,
    /// The project that it belongs to.
    pub project_id: Option<String>,
    key_id: Option<String>,
    key: RsaKeyPair,
}

/// An access token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What goes after `Bearer`.
    pub access_token: String,
    /// Seconds from now for which it is good.
    pub expires_in: u64,
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client_email, token_uri, project_id, key_id, key: _ } = self;
        f.debug_struct("ServiceAccount")
            .field("client_email", client_email)
            .field("token_uri", token_uri)
            .field("project_id", project_id)
            .field("key_id", key_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

impl ServiceAccount {
    /// Reads a key file. The error names the field that is wrong and quotes none of it.
    pub fn parse(json: &str) -> Result<Self, String> {
        let file: Map<String, Value> = serde_json::from_str(json).map_err(|err| {
            format!("the service account is not a JSON object: line {}, column {}", err.line(), err.column())
        })?;
        let text = |name: &str| file.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let kind = text("type").unwrap_or("service_account");
        if kind != "service_account" {
            return Err("`type` of the service account has to be `service_account`: make a JSON key of a \
                        service account in Google Cloud's console"
                .to_owned());
        }
        let required = |name: &str| {
            text(name).map(str::to_owned).ok_or_else(|| format!("`{name}` of the service account is missing"))
        };
        let key = read_key(&required("private_key")?)?;
        let token_uri = text("token_uri").unwrap_or(TOKEN_URI).to_owned();
        if !token_uri.starts_with("https://") && !token_uri.starts_with("http://") {
            return Err(format!("`token_uri` of the service account has to be a URL such as {TOKEN_URI}"));
        }
        Ok(Self {
            client_email: required("client_email")?,
            token_uri,
            project_id: text("project_id").map(str::to_owned),
            key_id: text("private_key_id").map(str::to_owned),
            key,
        })
    }

    /// A signed statement (JWT, RS256) that this account wants a token for `scope`, valid for an hour.
    ///
    /// `now` is in seconds since 1970. The same arguments give the same text.
    pub fn assertion(&self, scope: &str, now: u64) -> Result<String, String> {
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        if let Some(id) = &self.key_id {
            header["kid"] = Value::from(id.as_str());
        }
        let claims = json!({
            "iss": self.client_email,
            "scope": scope,
            "aud": self.token_uri,
            "exp": now.saturating_add(LIFETIME),
            "iat": now,
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.sign(text.as_bytes())?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The signature of RS256 (RSASSA-PKCS1-v1_5 with SHA-256), which depends on the text and the key alone.
    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, String> {
        let mut signature = vec![0; self.key.public().modulus_len()];
        // Random numbers only hide the key from those who measure how long this takes.
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature)
            .map_err(|_| "the service account's `private_key` cannot sign".to_owned())?;
        Ok(signature)
    }
}

fn read_key(pem: &str) -> Result<RsaKeyPair, String> {
    let wrong = |why: &str| {
        format!(
            "`private_key` of the service account {why}: it has to be the RSA key in PEM that came with the key file"
        )
    };
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong("is not PEM"))?;
    let pair = match &key {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(wrong("is of another kind")),
    };
    pair.map_err(|_| wrong("is no RSA key of 2048 bits or more"))
}

/// The body, `application/x-www-form-urlencoded`, that asks for a token.
pub fn token_form(assertion: &str) -> String {
    // An assertion is base64url and dots: nothing in it needs to be escaped.
    format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}")
}

/// Reads what Google answers to [`token_form`]. The error says what Google said.
pub fn read_token(body: &[u8]) -> Result<Token, String> {
    let answer: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|_| "the token endpoint's answer is no JSON object".to_owned())?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    if let Some(error) = text("error") {
        let why = text("error_description").unwrap_or("no description");
        return Err(format!("the token endpoint refused the service account: {error}: {why}"));
    }
    let token = text("access_token").filter(|token| !token.is_empty());
    let access_token = token.ok_or("the token endpoint's answer has no `access_token`")?.to_owned();
    let expires_in = answer.get("expires_in").and_then(Value::as_u64);
    let expires_in = expires_in.ok_or("the token endpoint's answer has no `expires_in` in seconds")?;
    Ok(Token { access_token, expires_in })
}
