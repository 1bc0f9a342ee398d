//! Who waits for an answer in this process, and what they are told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use domain::{Operation, RequestId, Timestamp};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Most bytes that wait for one slow caller; what comes beyond is read from the stored result later.
const MOST_QUEUED: usize = 16 * 1024 * 1024;

/// What somebody who waits is told.
#[derive(Debug, PartialEq)]
pub(crate) enum Note {
    /// A frame came in.
    Frame(Bytes),
    /// Frames were dropped.
    Missed,
    /// Frames may have been lost: look at the stored result.
    Look,
    /// The process ends.
    Stop,
}

/// What is known of a request that somebody waits for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Running {
    /// What it asks for.
    pub(crate) operation: Operation,
    /// The model named.
    pub(crate) model: Option<String>,
    /// When it was taken on.
    pub(crate) accepted_at: Timestamp,
    /// When it has to be finished.
    pub(crate) deadline: Timestamp,
}

struct Slot {
    notes: mpsc::UnboundedSender<Note>,
    queued: Arc<AtomicUsize>,
    missed: bool,
    running: Running,
}

/// The receiving side of one who waits.
pub(crate) struct Seat {
    notes: mpsc::UnboundedReceiver<Note>,
    queued: Arc<AtomicUsize>,
}

impl Seat {
    /// The next note.
    pub(crate) async fn next(&mut self) -> Note {
        match self.notes.recv().await {
            Some(Note::Frame(frame)) => {
                self.queued.fetch_sub(frame.len(), Ordering::Relaxed);
                Note::Frame(frame)
            }
            Some(note) => note,
            // The slot lives as long as the seat; should it be gone, nothing more can come.
            None => Note::Stop,
        }
    }
}

/// Who waits for an answer in this process.
#[derive(Default)]
pub(crate) struct Board {
    slots: Mutex<HashMap<String, Slot>>,
}

impl Board {
    /// Takes a seat. None: somebody waits for a request of that id already.
    pub(crate) fn join(&self, request: &RequestId, running: Running) -> Option<Seat> {
        let (sender, notes) = mpsc::unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let slot = Slot { notes: sender, queued: Arc::clone(&queued), missed: false, running };
        let mut slots = self.slots.lock();
        if slots.contains_key(request.as_str()) {
            return None;
        }
        slots.insert(request.as_str().to_owned(), slot);
        Some(Seat { notes, queued })
    }

    /// Gives the seat up.
    pub(crate) fn leave(&self, request: &RequestId) {
        self.slots.lock().remove(request.as_str());
    }

    /// What is known of a request that somebody waits for.
    pub(crate) fn running(&self, request: &RequestId) -> Option<Running> {
        self.slots.lock().get(request.as_str()).map(|slot| slot.running.clone())
    }

    /// Hands a frame over. Frames for nobody are dropped: their caller has gone.
    pub(crate) fn deliver(&self, request: &str, frame: Bytes) {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.get_mut(request).filter(|slot| !slot.missed) else { return };
        let queued = slot.queued.fetch_add(frame.len(), Ordering::Relaxed);
        let note = if queued > MOST_QUEUED {
            slot.missed = true;
            Note::Missed
        } else {
            Note::Frame(frame)
        };
        // The seat may be gone already; its slot follows.
        let _ = slot.notes.send(note);
    }

    /// Tells everybody.
    pub(crate) fn tell_all(&self, note: impl Fn() -> Note) {
        for slot in self.slots.lock().values() {
            let _ = slot.notes.send(note());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Running {
        let (accepted_at, deadline) = (Timestamp(1), Timestamp(2));
        Running { operation: Operation::Chat, model: None, accepted_at, deadline }
    }

    fn id(text: &str) -> RequestId {
        RequestId::parse(text).unwrap()
    }

    #[tokio::test]
    async fn frames_reach_the_one_who_waits_for_them() {
        let board = Board::default();
        let mut seat = board.join(&id("a"), running()).unwrap();
        board.deliver("b", Bytes::from_static(b"other"));
        board.deliver("a", Bytes::from_static(b"ours"));
        board.tell_all(|| Note::Look);
        assert_eq!(seat.next().await, Note::Frame(Bytes::from_static(b"ours")));
        assert_eq!(seat.next().await, Note::Look);
    }

    #[test]
    fn one_id_has_one_seat_until_it_is_given_up() {
        let board = Board::default();
        let _seat = board.join(&id("a"), running()).unwrap();
        assert!(board.join(&id("a"), running()).is_none());
        assert_eq!(board.running(&id("a")), Some(running()));
        board.leave(&id("a"));
        assert_eq!(board.running(&id("a")), None);
        assert!(board.join(&id("a"), running()).is_some());
    }

    #[tokio::test]
    async fn a_slow_caller_is_told_that_frames_were_dropped_and_keeps_no_more() {
        let board = Board::default();
        let mut seat = board.join(&id("a"), running()).unwrap();
        let frame = Bytes::from(vec![0; MOST_QUEUED / 2 + 1]);
        for _ in 0..5 {
            board.deliver("a", frame.clone());
        }
        assert!(matches!(seat.next().await, Note::Frame(_)));
        assert!(matches!(seat.next().await, Note::Frame(_)));
        assert_eq!(seat.next().await, Note::Missed);
        board.tell_all(|| Note::Stop);
        assert_eq!(seat.next().await, Note::Stop);
    }
}
