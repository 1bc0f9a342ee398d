//! What is believed of a reply, and which entries a selection means.

use super::selection::fits;
use super::*;

fn entry() -> Entry {
    Entry {
        id: RequestId::choose("r-1").unwrap(),
        workspace: Workspace::default(),
        key: "ab12".into(),
        partition: "cd34".into(),
        namespace: Some("faq".into()),
        text: Some("what is a broker?".into()),
        tags: vec!["red".into(), "blue".into()],
        operation: Operation::Chat,
        provider: "openai".into(),
        model: Some("gpt-4o".into()),
        asked_at: Timestamp(1_000),
        stored_at: Timestamp(2_000),
        expires_at: Timestamp(60_000),
        content_type: "application/json".into(),
        headers: BTreeMap::new(),
        usage: Usage::default(),
        cost: None,
        size: 2,
    }
}

fn question() -> Question {
    Question {
        workspace: Workspace::default(),
        key: "ab12".into(),
        partition: "cd34".into(),
        text: Some("what's a broker?".into()),
        threshold: None,
        max_age: None,
    }
}

#[test]
fn an_entry_decodes_to_what_was_encoded() {
    let payload = entry().encode(b"{}");
    assert_eq!(Entry::decode(&payload), Ok((entry(), Bytes::from_static(b"{}"))));
    assert!(Entry::decode(&entry().encode(b"{")).is_err());
    let reply = Reply { why: "nothing alike".into(), ..Reply::default() };
    assert_eq!(Reply::decode(&reply.encode(b"")), Ok((reply, Bytes::new())));
}

#[test]
fn a_reply_is_believed_only_where_it_answers_the_question() {
    let now = Timestamp(30_000);
    let hit = Match { status: Status::Hit, score: None, entry: entry() };
    let alike = Match { status: Status::SemanticHit, score: Some(0.95), entry: entry() };
    let judge = |found: &Match, question: &Question| found.refused_by(question, b"{}", 0.9, now);
    assert_eq!(judge(&hit, &question()), None);
    assert_eq!(judge(&alike, &question()), None);
    let other = |change: fn(&mut Question)| {
        let mut question = question();
        change(&mut question);
        question
    };
    let stranger = other(|q| q.workspace = Workspace::parse("b").unwrap());
    for found in [&hit, &alike] {
        assert_eq!(judge(found, &stranger), Some("it belongs to another workspace"));
        let too_old = other(|q| q.max_age = Some(Duration::from_secs(27)));
        assert_eq!(judge(found, &too_old), Some("it is too old"));
        assert_eq!(found.refused_by(&question(), b"{", 0.9, now), Some("its answer is not whole"));
        assert_eq!(found.refused_by(&question(), b"{}", 0.9, Timestamp(60_000)), Some("it has expired"));
    }
    assert_eq!(judge(&hit, &other(|q| q.key = "x".into())), Some("it answers another request"));
    assert_eq!(judge(&alike, &other(|q| q.key = "x".into())), None);
    assert_eq!(judge(&hit, &other(|q| q.partition = "x".into())), None);
    assert!(judge(&alike, &other(|q| q.partition = "x".into())).is_some());
    assert_eq!(judge(&alike, &other(|q| q.text = None)), Some("nobody asked for its meaning"));
    assert_eq!(alike.refused_by(&question(), b"{}", 0.96, now), Some("it is not alike enough"));
    let unscored = Match { score: None, ..alike.clone() };
    assert!(judge(&unscored, &question()).is_some());
    let miss = Match { status: Status::Miss, ..hit };
    assert_eq!(judge(&miss, &question()), Some("it is no hit"));
}

#[test]
fn patterns_fit_whole_keys() {
    for (pattern, text, expected) in [
        ("ab12", "ab12", true),
        ("ab1", "ab12", false),
        ("ab*", "ab12", true),
        ("*12", "ab12", true),
        ("a*1*", "ab12", true),
        ("a*b1*2", "ab12", true),
        ("*", "", true),
        ("**", "ab", true),
        ("ab*b12", "ab12", false),
        ("a*2*1*", "ab12", false),
        ("", "ab", false),
    ] {
        assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn a_selection_means_entries_that_have_all_of_it() {
    let means = |change: fn(&mut Selection)| {
        let mut selection = Selection::default();
        change(&mut selection);
        selection.holds(&entry())
    };
    assert!(!means(|_| {}), "nothing given means nothing");
    assert!(means(|s| s.all = true));
    assert!(means(|s| s.ids = vec![RequestId::choose("r-1").unwrap()]));
    assert!(!means(|s| s.ids = vec![RequestId::choose("r-2").unwrap()]));
    assert!(means(|s| s.tags = vec!["green".into(), "blue".into()]));
    assert!(!means(|s| s.tags = vec!["green".into()]));
    assert!(means(|s| s.models = vec!["gpt-4o".into()]));
    assert!(!means(|s| s.providers = vec!["anthropic".into()]));
    assert!(means(|s| s.namespaces = vec!["faq".into()]));
    assert!(means(|s| s.before = Some(Timestamp(2_001))));
    assert!(!means(|s| s.before = Some(Timestamp(2_000))));
    assert!(means(|s| s.keys = vec!["ab*".into()]));
    assert!(!means(|s| {
        s.tags = vec!["red".into()];
        s.models = vec!["o3".into()];
    }));
}

#[test]
fn what_was_asked_before_it_was_taken_out_is_not_stored_after() {
    let selection = Selection { tags: vec!["red".into()], ..Selection::default() };
    let at = |at| Invalidation { selection: selection.clone(), at: Timestamp(at) };
    assert!(at(1_000).forbids(&entry()));
    assert!(at(5_000).forbids(&entry()));
    assert!(!at(999).forbids(&entry()));
    let other = Selection { tags: vec!["green".into()], ..Selection::default() };
    assert!(!Invalidation { selection: other, at: Timestamp(5_000) }.forbids(&entry()));
}
