//! Tests of service accounts and their access tokens.

use base64::engine::general_purpose::STANDARD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::*;

const KEY: &str = include_str!("test-only-key-of-rfc7515.pem");

/// The public half of [`KEY`], PKCS #1 in DER.
const PUBLIC: &str = "MIIBCgKCAQEAofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\
    P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e\
    +KXBdQOS+UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxXFvUK+DWNmoudF8NAco9/h9iaGNj8q2et\
    hFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQIDAQAB";

fn key_file() -> Value {
    json!({
        "type": "service_account",
        "project_id": "my-project",
        "private_key_id": "key-1",
        "private_key": KEY,
        "client_email": "gateway@my-project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    })
}

fn account() -> ServiceAccount {
    ServiceAccount::parse(&key_file().to_string()).unwrap()
}

#[test]
fn signatures_are_those_of_rfc_7515() {
    // RFC 7515, appendix A.2.1.
    let text = "eyJhbGciOiJSUzI1NiJ9.\
                eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let expected = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5\
                    jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K\
                    0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgG\
                    Y9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    assert_eq!(URL_SAFE_NO_PAD.encode(account().sign(text.as_bytes()).unwrap()), expected);
}

#[test]
fn assertions_say_what_google_documents_and_the_public_key_verifies_them() {
    let assertion = account().assertion(CLOUD_PLATFORM, 1_700_000_000).unwrap();
    let [header, claims, signature] = assertion.split('.').collect::<Vec<_>>().try_into().unwrap();
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let value = |text: &str| serde_json::from_slice::<Value>(&decode(text)).unwrap();
    assert_eq!(value(header), json!({"alg": "RS256", "typ": "JWT", "kid": "key-1"}));
    let expected = json!({
        "iss": "gateway@my-project.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": 1_700_000_000,
        "exp": 1_700_003_600,
    });
    assert_eq!(value(claims), expected);
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, STANDARD.decode(PUBLIC).unwrap());
    let signed = format!("{header}.{claims}");
    assert!(public.verify(signed.as_bytes(), &decode(signature)).is_ok());
    assert!(public.verify(format!("{signed}x").as_bytes(), &decode(signature)).is_err());
    assert_eq!(account().assertion(CLOUD_PLATFORM, 1_700_000_000).unwrap(), assertion);
}

#[test]
fn what_a_key_file_lacks_has_defaults_or_is_named() {
    let mut file = key_file();
    file.as_object_mut().unwrap().retain(|name, _| name == "private_key" || name == "client_email");
    let account = ServiceAccount::parse(&file.to_string()).unwrap();
    assert_eq!((account.token_uri.as_str(), account.project_id.as_deref()), (TOKEN_URI, None));
    for (field, value, named) in [
        ("type", json!("authorized_user"), "`type`"),
        ("client_email", json!(null), "`client_email`"),
        ("private_key", json!(7), "`private_key`"),
        ("private_key", json!("secret"), "is not PEM"),
        ("private_key", json!(KEY.replace("MIIEvQ", "MIIEvR")), "is no RSA key"),
        ("token_uri", json!("file:///etc/passwd"), "`token_uri`"),
    ] {
        let mut file = key_file();
        file[field] = value;
        let error = ServiceAccount::parse(&file.to_string()).unwrap_err();
        assert!(error.contains(named), "{field}: {error}");
        assert!(!error.contains("secret") && !error.contains("MIIE"), "{error}");
    }
    assert!(ServiceAccount::parse("[]").unwrap_err().contains("not a JSON object"));
}

#[test]
fn keys_and_tokens_are_not_printed() {
    let token =
        read_token(br#"{"access_token":"ya29.secret","expires_in":3599,"token_type":"Bearer"}"#).unwrap();
    assert_eq!((token.access_token.as_str(), token.expires_in), ("ya29.secret", 3599));
    let printed = format!("{token:?} {:?}", account());
    assert!(!printed.contains("secret") && !printed.contains("BEGIN"), "{printed}");
}

#[test]
fn the_token_endpoints_words_are_kept() {
    for (body, said) in [
        (
            r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#,
            "invalid_grant: Invalid JWT",
        ),
        (r#"{"error":"invalid_client"}"#, "invalid_client"),
        (r#"{"expires_in":3599}"#, "`access_token`"),
        (r#"{"access_token":"","expires_in":3599}"#, "`access_token`"),
        (r#"{"access_token":"a"}"#, "`expires_in`"),
        ("<html>", "no JSON object"),
    ] {
        let error = read_token(body.as_bytes()).unwrap_err();
        assert!(error.contains(said), "{body}: {error}");
    }
}

#[test]
fn the_form_is_a_jwt_bearer_grant() {
    let form = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b.c";
    assert_eq!(token_form("a.b.c"), form);
}
