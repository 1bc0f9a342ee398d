//! Scripts that are understood, and those that are refused.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(model: &str, position: usize, expected: impl FnOnce(&mut Step)) {
    let mut step = Step::default();
    expected(&mut step);
    assert_eq!(Script::parse(model).expect(model).step(position), step, "{model} at {position}");
}

#[track_caller]
fn refused(model: &str, code: &str, names: &[&str]) {
    let err = Script::parse(model).expect_err(model);
    assert_eq!((err.status, err.param.as_deref(), err.code.as_deref()), (400, Some("model"), Some(code)));
    for name in names {
        assert!(err.message.contains(name), "{model}: `{name}` is missing in: {}", err.message);
    }
}

#[test]
fn every_parameter_sets_its_part_of_the_step() {
    let ms = Duration::from_millis;
    check("mock", 0, |_| {});
    check("mock?", 0, |_| {});
    check("mock?status=503", 0, |s| s.status = StatusCode::SERVICE_UNAVAILABLE);
    check("mock?retry-after=2", 0, |s| s.retry_after = Some(RetryAfter::Seconds(2)));
    check("mock?retry-after=500ms", 0, |s| s.retry_after = Some(RetryAfter::Exact(ms(500))));
    check("mock?wall=10/2s", 0, |s| s.wall = Some(Wall { calls: 10, window: ms(2000) }));
    check("mock?rate=10/s", 0, |s| s.rate = Some(Rate { calls: 10, per: ms(1000) }));
    check("mock?delay=200ms", 0, |s| s.delay = ms(200));
    check("mock?gap=10ms", 0, |s| s.gap = ms(10));
    check("mock?drip=5ms", 0, |s| s.drip = Some(ms(5)));
    check("mock?chunks=20", 0, |s| s.chunks = Some(20));
    check("mock?words=0", 0, |s| s.words = Some(0));
    check("mock?size=5MB", 0, |s| s.size = Some(5_000_000));
    check("mock?dimensions=3", 0, |s| s.dimensions = Some(3));
    check("mock?hang=headers", 0, |s| s.hang = Some(Hang::Headers));
    check("mock?hang=stream&hang-after=4", 0, |s| (s.hang, s.hang_after) = (Some(Hang::Stream), 4));
    check("mock?abort=0", 0, |s| s.abort = Some(0));
    check("mock?malformed=json", 0, |s| s.malformed = Some(Malformed::Json));
    check("mock?malformed=sse", 0, |s| s.malformed = Some(Malformed::Sse));
    check("mock?usage=none", 0, |s| s.usage = false);
    check("mock?content-type=text/html", 0, |s| {
        s.content_type = Some(HeaderValue::from_static("text/html"));
    });
    check("mock?content-type=text/html;%20charset=x", 0, |s| {
        s.content_type = Some(HeaderValue::from_static("text/html; charset=x"));
    });
    check("mock?error-after=3", 0, |s| s.error_after = Some(3));
    check("mock?error-after=no", 0, |_| {});
    check("mock?tools=2", 0, |s| s.tools = Some(2));
    check("mock?thinking=5", 0, |s| s.thinking = Some(5));
    check("mock?cached=7", 0, |s| s.cached = Some(7));
    check("mock?filtered", 0, |s| s.filtered = true);
    check("mock?expires=2s", 0, |s| s.expires = ms(2000));
    check("mock?error-body", 0, |s| s.error_body = true);
    check("mock?error-body=no&log", 0, |s| s.log = true);
}

#[test]
fn lists_advance_on_their_own_and_stay_on_the_last_value() {
    let model = "mock?status=500,429,200&delay=1s,2s&hang=headers,no";
    let at = |position| {
        let step = Script::parse(model).expect(model).step(position);
        (step.status.as_u16(), step.delay.as_secs(), step.hang)
    };
    assert_eq!(at(0), (500, 1, Some(Hang::Headers)));
    assert_eq!(at(1), (429, 2, None));
    assert_eq!(at(2), (200, 2, None));
    assert_eq!(at(99), (200, 2, None));
}

#[test]
fn only_lists_make_a_sequence() {
    for (model, sequence) in [("mock", false), ("mock?status=500", false), ("mock?log&status=500,200", true)]
    {
        assert_eq!(Script::parse(model).expect(model).is_sequence(), sequence, "{model}");
    }
}

#[test]
fn mistakes_are_refused_with_what_is_known() {
    let names: Vec<_> = PARAMS.iter().map(|param| param.name).collect();
    refused("mock?colour=red", "unknown_script_parameter", &names);
    refused("mock?colour=red", "unknown_script_parameter", &["`colour`", "200 to 599"]);
    refused("mock?delay=5", "invalid_script_value", &["`delay`", "`5`", "200ms or 2s"]);
    refused("mock?status=500&status=200", "invalid_script_value", &["twice"]);
    for model in [
        "mock?status",
        "mock?status=",
        "mock?status=100",
        "mock?status=600",
        "mock?status=500,",
        "mock?status=200,x",
        "mock?chunks=0",
        "mock?hang=ever",
        "mock?abort=-1",
        "mock?malformed=xml",
        "mock?usage=some",
        "mock?content-type=html",
        "mock?content-type=text/%0Ahtml",
        "mock?error-body=1",
        "mock?tools=-1",
        "mock?filtered=2",
        "mock?expires=soon",
        "mock?rate=0/s",
        "mock?dimensions=5000",
        "mock?size=1GB",
    ] {
        refused(model, "invalid_script_value", &names);
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(model in "mock\\?[a-z%&=,0-9é-]{0,40}", position in 0_usize..9) {
        if let Ok(script) = Script::parse(&model) {
            script.step(position);
        }
    }
}
