//! Signatures against AWS's own test suite; frames against themselves and against damage.

use proptest::prelude::*;

use super::*;
use crate::chat::{Broken, MAX_EVENT};

const KEY: (&str, &str) = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
/// 2015-08-30T12:36:00Z, the suite's time.
const SUITE: u64 = 1_440_938_160;

fn credentials(token: Option<&str>) -> Credentials {
    Credentials {
        access_key_id: KEY.0.to_owned(),
        secret_access_key: KEY.1.to_owned(),
        session_token: token.map(str::to_owned),
    }
}

fn header(signed: &[(String, String)], name: &str) -> Option<String> {
    signed.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone())
}

/// Signs as the suite does and compares all that follows the credential.
#[track_caller]
fn check(method: &str, path: &str, headers: &[(&str, &str)], token: Option<&str>, expected: &str) {
    let url = format!("https://example.amazonaws.com{path}");
    let signed =
        sign(method, &url, headers, b"", "us-east-1", "service", &credentials(token), SUITE).unwrap();
    assert_eq!(header(&signed, "x-amz-date").unwrap(), "20150830T123600Z");
    assert_eq!(header(&signed, "x-amz-security-token").as_deref(), token);
    let beginning =
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=";
    assert_eq!(header(&signed, "authorization").unwrap(), format!("{beginning}{expected}"));
}

#[test]
fn signatures_are_those_of_the_published_suite() {
    check(
        "GET",
        "/",
        &[],
        None,
        "host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    );
    check(
        "POST",
        "/",
        &[],
        None,
        "host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    );
    check(
        "GET",
        "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        &[],
        None,
        "host;x-amz-date, Signature=371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    );
    check(
        "GET",
        "/",
        &[],
        Some("6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"),
        "host;x-amz-date;x-amz-security-token, \
         Signature=07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
    );
}

#[test]
fn the_body_and_the_headers_are_signed() {
    // "post-x-www-form-urlencoded" of the suite.
    let hash = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e";
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-length", "13"),
        ("x-amz-content-sha256", hash),
    ];
    let url = "https://example.amazonaws.com/";
    let signed = |body: &[u8]| {
        let signed =
            sign("POST", url, &headers, body, "us-east-1", "service", &credentials(None), SUITE).unwrap();
        header(&signed, "authorization").unwrap()
    };
    let authorization = signed(b"Param1=value1");
    assert!(
        authorization.ends_with("d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"),
        "{authorization}"
    );
    assert!(authorization.contains("SignedHeaders=content-length;content-type;host;x-amz-content-sha256;"));
    assert_ne!(authorization, signed(b"Param1=value2"));
}

#[test]
fn paths_are_encoded_twice() {
    // "double-url-encode" of the suite: an ARN in the path.
    let name = path_segment("arn:aws:lambda:us-west-2:892717189312:function:my-rusty-fun");
    let url = format!("https://lambda.us-east-2.amazonaws.com/2015-03-31/functions/{name}/invocations");
    let time = 1_620_747_645;
    let signed = sign("POST", &url, &[], b"", "us-east-2", "lambda", &credentials(None), time).unwrap();
    let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20210511/us-east-2/lambda/aws4_request, \
        SignedHeaders=host;x-amz-date, \
        Signature=4b93abbcc68be32bd64c18e2c71150660ab4c29bbd6c32a383a7517a88fc1804";
    assert_eq!(header(&signed, "authorization").unwrap(), expected);
}

#[test]
fn model_ids_are_one_segment() {
    assert_eq!(path_segment("anthropic.claude-v2:1"), "anthropic.claude-v2%3A1");
    let arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0";
    assert_eq!(
        path_segment(arn),
        "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.amazon.nova-lite-v1%3A0"
    );
    assert_eq!(path_segment("ü ~"), "%C3%BC%20~");
}

#[test]
fn what_cannot_be_signed_is_an_error() {
    let sign = |url: &str, headers: &[(&str, &str)], time| {
        sign("GET", url, headers, b"", "r", "s", &credentials(None), time)
    };
    assert!(sign("https://exa mple.com/", &[], 0).unwrap_err().contains("cannot be signed"));
    assert!(sign("https://a.b/", &[("x\n", "y")], 0).unwrap_err().contains("cannot be signed"));
    assert!(sign("https://a.b/", &[], u64::MAX).unwrap_err().contains("9999"));
    assert!(sign("https://a.b/", &[], 0).is_ok());
    assert!(!format!("{:?}", credentials(Some("t0k3n"))).contains("wJal"));
    assert!(!format!("{:?}", credentials(Some("t0k3n"))).contains("t0k3n"));
}

fn encoded(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    frames.iter().for_each(|frame| encode(frame, &mut out).unwrap());
    out
}

fn decoded(bytes: &[u8], size: usize) -> Result<(Vec<Frame>, bool), Broken> {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(size) {
        decoder.push(piece);
        while let Some(frame) = decoder.take()? {
            frames.push(frame);
        }
    }
    Ok((frames, decoder.is_cut()))
}

#[test]
fn a_published_frame_is_read() {
    // AWS's test vector "payload_no_headers".
    let bytes = [
        &[0, 0, 0, 0x1d, 0, 0, 0, 0, 0xfd, 0x52, 0x8c, 0x5a][..],
        b"{'foo':'bar'}",
        &[0xc3, 0x65, 0x39, 0x36],
    ]
    .concat();
    let frame = Frame { headers: Vec::new(), payload: b"{'foo':'bar'}"[..].into() };
    assert_eq!(decoded(&bytes, bytes.len()), Ok((vec![frame.clone()], false)));
    assert_eq!(encoded(&[frame]), bytes);
}

#[test]
fn lengths_are_believed_only_with_their_checksum() {
    let mut html = b"<html><body>502 Bad Gateway</body></html>".to_vec();
    assert!(matches!(decoded(&html, html.len()), Err(Broken::Malformed(_))));
    html.truncate(11);
    assert_eq!(decoded(&html, 11), Ok((Vec::new(), true)));
    let prelude = |length: usize, headers: u32| {
        let mut out = u32::try_from(length).unwrap().to_be_bytes().to_vec();
        out.extend(headers.to_be_bytes());
        out.extend(crc32fast::hash(&out).to_be_bytes());
        out
    };
    assert_eq!(decoded(&prelude(MAX_EVENT + 1, 0), 12), Err(Broken::TooLarge));
    assert_eq!(decoded(&prelude(MAX_EVENT, 0), 12), Ok((Vec::new(), true)));
    for length in [0, 1, 11, 12, 15] {
        assert!(matches!(decoded(&prelude(length, 0), 12), Err(Broken::Malformed(_))), "{length}");
    }
    let frame = [prelude(16, 9), vec![0; 4]].concat();
    assert!(matches!(decoded(&frame, 16), Err(Broken::Malformed(_))));
}

#[test]
fn frames_beyond_the_limits_are_not_written() {
    let mut out = b"before".to_vec();
    let large = Frame { headers: Vec::new(), payload: vec![0; MAX_EVENT].into() };
    assert!(encode(&large, &mut out).unwrap_err().contains("longer than"));
    let long = Frame { headers: vec![("h".into(), "x".repeat(40_000))], payload: Default::default() };
    assert!(encode(&long, &mut out).is_err());
    assert_eq!(out, b"before");
}

fn frame() -> impl Strategy<Value = Frame> {
    let headers = prop::collection::vec(("[a-z:-]{1,20}", ".{0,20}"), 0..5);
    (headers, prop::collection::vec(any::<u8>(), 0..64))
        .prop_map(|(headers, payload)| Frame { headers, payload: payload.into() })
}

proptest! {
    #[test]
    fn frames_are_read_as_they_were_written(
        frames in prop::collection::vec(frame(), 0..4), size in 1..80_usize,
    ) {
        prop_assert_eq!(decoded(&encoded(&frames), size), Ok((frames, false)));
    }

    #[test]
    fn a_damaged_frame_is_noticed(frame in frame(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = encoded(std::slice::from_ref(&frame));
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(decoded(&bytes, bytes.len()).is_err());
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1..50_usize) {
        let _ = decoded(&bytes, size);
    }

    #[test]
    fn no_headers_are_too_strange(
        body in prop::collection::vec(any::<u8>(), 0..80), headers in 0..80_u32, sum in any::<u32>(),
    ) {
        let mut bytes = u32::try_from(16 + body.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(headers.to_be_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes.extend(body);
        bytes.extend(sum.to_be_bytes());
        let _ = decoded(&bytes, bytes.len());
    }
}
