//! How answers are read.

use super::*;

#[test]
fn statuses_say_whether_to_try_again() {
    let read = |status: u16, words: &str| {
        read_status(StatusCode::from_u16(status).unwrap(), words, Some(Duration::from_secs(7)))
    };
    assert_eq!(read(204, ""), Answer::Taken("HTTP 204".to_owned()));
    assert_eq!(read(200, "ok"), Answer::Taken("HTTP 200 ok".to_owned()));
    assert_eq!(read(410, "gone"), Answer::Refused("HTTP 410 gone".to_owned()));
    for status in [400, 401, 404, 429, 500, 503] {
        let wait = Some(Duration::from_secs(7));
        let said = format!("HTTP {status}");
        assert_eq!(read(status, ""), Answer::Failed { said, retry_after: wait });
    }
    assert!(read(302, "").said().contains("redirects are not followed"));
}

#[test]
fn waits_are_seconds_or_a_date() {
    let now = Timestamp(1_445_412_420_000);
    assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
    assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now), Some(Duration::from_secs(60)));
    assert_eq!(retry_after("Wed, 21 Oct 2015 07:26:00 GMT", now), Some(Duration::ZERO));
    assert_eq!(retry_after("soon", now), None);
}
