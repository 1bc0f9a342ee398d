//! Access tokens of Google and Microsoft.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

use crate::harness::{Mock, Reply, encoded, now};

fn seconds() -> u64 {
    now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

pub(crate) fn form(path: &str, fields: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let body: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
    request.body(Full::from(body.join("&"))).expect("request")
}

fn signed(key: &str, header: &Value, claims: &Value) -> String {
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(body).expect("base64")).expect("a key");
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(header), encode(claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).expect("signed");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Asks for a token with the mock's own service account, as `google-auth` does.
async fn google(mock: &Mock, script: &str, change: impl FnOnce(&mut Value, &mut Value)) -> Reply {
    let account = mock.get(&format!("/google/service-account{script}")).await;
    let uri = account["token_uri"].as_str().expect("address");
    let mut header = json!({"alg": "RS256", "typ": "JWT", "kid": account["private_key_id"]});
    let mut claims = json!({
        "iss": account["client_email"], "aud": uri, "iat": seconds(), "exp": seconds() + 3600,
        "scope": "https://www.googleapis.com/auth/cloud-platform",
    });
    change(&mut header, &mut claims);
    let assertion = signed(account["private_key"].as_str().expect("key"), &header, &claims);
    let path = uri.split_once("//").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).expect("path");
    let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    mock.send(form(path, &[("grant_type", grant), ("assertion", &assertion)])).await
}

/// A token for Vertex AI.
pub(crate) async fn google_token(mock: &Mock, script: &str) -> String {
    let reply = google(mock, script, |_, _| {}).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.json()["access_token"].as_str().expect("token").to_owned()
}

#[tokio::test]
async fn google_gives_a_token_for_a_signed_assertion() {
    let mock = Mock::start().await;
    let reply = google(&mock, "?expires=90s", |_, _| {}).await.json();
    assert_eq!((&reply["token_type"], &reply["expires_in"]), (&json!("Bearer"), &json!(90)));
    let again = google_token(&mock, "?expires=90s").await;
    assert_ne!(reply["access_token"], again);
    let bill = mock.get("/bill").await;
    assert_eq!(bill["models"]["token?expires=90s"]["calls"], 2, "fetches can be counted");
    assert_eq!(google(&mock, "?status=503", |_, _| {}).await.status, 503, "it takes scripts, too");
}

#[tokio::test]
async fn google_refuses_what_is_not_signed_for_it() {
    type Change = fn(&mut Value, &mut Value);
    let mock = Mock::start().await;
    let cases: &[(Change, &str)] = &[
        (|header, _| header["alg"] = "none".into(), "invalid_grant"),
        (|_, claims| claims["iss"] = "somebody".into(), "invalid_grant"),
        (|_, claims| claims["aud"] = "https://elsewhere/token".into(), "invalid_grant"),
        (|_, claims| claims["scope"] = "openid".into(), "invalid_scope"),
        (|_, claims| claims["exp"] = (seconds() + 7200).into(), "invalid_grant"),
        (|_, claims| (claims["iat"], claims["exp"]) = (1.into(), 3601.into()), "invalid_grant"),
        (|_, claims| claims["exp"] = Value::Null, "invalid_grant"),
    ];
    for (change, code) in cases {
        let reply = google(&mock, "", change).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["error"].as_str()),
            (400, Some(*code)),
            "{:?}",
            reply.body
        );
    }
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
    for fields in [vec![], vec![("grant_type", "password")], vec![grant], vec![grant, ("assertion", "a.b.c")]]
    {
        assert_eq!(mock.send(form("/token", &fields)).await.status, 400, "{fields:?}");
    }
    let account = mock.get("/google/service-account").await;
    let good = signed(account["private_key"].as_str().expect("key"), &json!({"alg": "RS256"}), &json!({}));
    let (text, _) = good.rsplit_once('.').expect("parts");
    let forged = format!("{text}.{}", URL_SAFE_NO_PAD.encode([7; 256]));
    let reply = mock.send(form("/token", &[grant, ("assertion", &forged)])).await.json();
    assert_eq!(reply["error_description"], "Invalid JWT Signature.");
}

#[tokio::test]
async fn entra_gives_a_token_for_a_secret() {
    let mock = Mock::start().await;
    let scope = "https://cognitiveservices.azure.com/.default";
    let ask = async |client: &str, secret: &str, scope: &str| {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("client_secret", secret),
            ("scope", scope),
        ];
        mock.send(form("/tenant/oauth2/v2.0/token?expires=60s", &fields)).await
    };
    let given = ask("mock-client", "mock-secret", scope).await.json();
    assert_eq!((&given["token_type"], &given["expires_in"]), (&json!("Bearer"), &json!(60)));
    for (reply, status, code) in [
        (ask("mock-client", "wrong", scope).await, 401, "invalid_client"),
        (ask("other", "mock-secret", scope).await, 400, "unauthorized_client"),
        (ask("mock-client", "mock-secret", "openid").await, 400, "invalid_scope"),
    ] {
        assert_eq!((reply.status.as_u16(), reply.json()["error"].as_str()), (status, Some(code)));
    }
    let scripted = format!("/{}/oauth2/v2.0/token", encoded("tenant?status=500"));
    assert_eq!(mock.send(form(&scripted, &[("grant_type", "x")])).await.status, 400, "checked first");
}
