//! What readers of streams promise to writers, checked.

use std::collections::BTreeMap;

use providers::chat::{Broken, Event};

/// Checks what [`Event`] says that readers keep to.
#[track_caller]
pub(crate) fn check(events: &[Event], end: &Result<(), Broken>) {
    let mut open: Vec<(u32, u32)> = Vec::new();
    let (mut begun, mut finished) = (BTreeMap::<u32, u32>::new(), Vec::new());
    for (i, event) in events.iter().enumerate() {
        let begins = i == 0 && !matches!(event, Event::Error(_));
        assert_eq!(begins, matches!(event, Event::Start(_)), "Start is first and once: {events:?}");
        let is_last = matches!(event, Event::End | Event::Error(_));
        assert!(!is_last || i + 1 == events.len(), "nothing follows {event:?}");
        match event {
            Event::Open { choice, block, .. } => {
                let next = begun.entry(*choice).or_default();
                assert_eq!(block, next, "parts are counted");
                *next += 1;
                open.push((*choice, *block));
            }
            Event::Close { choice, block } => {
                let at = open.iter().position(|part| part == &(*choice, *block));
                open.remove(at.expect("only open parts are closed"));
            }
            Event::Delta { choice, block, .. } => {
                assert!(begun.get(choice).is_some_and(|next| block < next), "{event:?} has begun");
            }
            Event::Finish { choice, .. } => {
                assert!(!open.iter().any(|part| part.0 == *choice), "all parts of {choice} are closed");
                finished.push(*choice);
            }
            Event::End => {
                assert!(begun.keys().all(|choice| finished.contains(choice)), "all choices are finished");
            }
            _ => {}
        }
    }
    let complete = matches!(events.last(), Some(Event::End | Event::Error(_)));
    assert_eq!(end.is_ok(), complete, "an answer is complete or broken: {end:?}");
}
