//! A bounded queue for threads, with two lines: what is urgent goes first, and is turned away when its line is full.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Semaphore;

/// Filled by tasks, emptied by threads.
pub(super) struct Queue<T> {
    lines: Mutex<Lines<T>>,
    filled: Condvar,
    /// How many each line holds.
    length: usize,
    /// Places in the patient line.
    room: Semaphore,
}

struct Lines<T> {
    urgent: VecDeque<T>,
    patient: VecDeque<T>,
    closed: bool,
}

/// Why something was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turned {
    Full,
    Closed,
}

impl<T> Queue<T> {
    pub(super) fn new(length: usize) -> Self {
        let length = length.clamp(1, Semaphore::MAX_PERMITS);
        let lines = Lines { urgent: VecDeque::new(), patient: VecDeque::new(), closed: false };
        Self { lines: Mutex::new(lines), filled: Condvar::new(), length, room: Semaphore::new(length) }
    }

    /// Puts something into the urgent line, unless that is full.
    pub(super) fn offer(&self, item: T) -> Result<(), Turned> {
        let mut lines = self.lines.lock();
        if lines.closed {
            return Err(Turned::Closed);
        }
        if lines.urgent.len() >= self.length {
            return Err(Turned::Full);
        }
        lines.urgent.push_back(item);
        self.filled.notify_one();
        Ok(())
    }

    /// Puts something into the patient line, as soon as there is room.
    pub(super) async fn push(&self, item: T) -> Result<(), Turned> {
        let place = self.room.acquire().await.map_err(|_| Turned::Closed)?;
        let mut lines = self.lines.lock();
        if lines.closed {
            return Err(Turned::Closed);
        }
        // Given back by who takes the item out.
        place.forget();
        lines.patient.push_back(item);
        self.filled.notify_one();
        Ok(())
    }

    /// The next item; blocks until there is one. None: closed.
    pub(super) fn take(&self) -> Option<T> {
        let mut lines = self.lines.lock();
        loop {
            if lines.closed {
                return None;
            }
            if let Some(item) = lines.urgent.pop_front() {
                return Some(item);
            }
            if let Some(item) = lines.patient.pop_front() {
                self.room.add_permits(1);
                return Some(item);
            }
            self.filled.wait(&mut lines);
        }
    }

    /// Drops what waits; nothing is taken any more, and every `take` ends.
    pub(super) fn close(&self) {
        let mut lines = self.lines.lock();
        lines.closed = true;
        let waiting = (std::mem::take(&mut lines.urgent), std::mem::take(&mut lines.patient));
        drop(lines);
        drop(waiting);
        self.room.close();
        self.filled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn the_urgent_go_first_and_are_turned_away_when_their_line_is_full() {
        let queue = Queue::new(2);
        queue.push("patient 1").await.unwrap();
        queue.push("patient 2").await.unwrap();
        assert_eq!(queue.offer("urgent 1"), Ok(()));
        assert_eq!(queue.offer("urgent 2"), Ok(()));
        assert_eq!(queue.offer("urgent 3"), Err(Turned::Full));
        let taken: Vec<_> = (0..4).map(|_| queue.take().unwrap()).collect();
        assert_eq!(taken, ["urgent 1", "urgent 2", "patient 1", "patient 2"]);
        assert_eq!(queue.offer("urgent 4"), Ok(()));
    }

    #[tokio::test]
    async fn the_patient_wait_for_room() {
        let queue = Queue::new(1);
        queue.push(1).await.unwrap();
        let mut second = Box::pin(queue.push(2));
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(queue.take(), Some(1));
        second.await.unwrap();
        assert_eq!(queue.take(), Some(2));
    }

    #[tokio::test]
    async fn closing_ends_everybody() {
        let queue = Arc::new(Queue::<()>::new(1));
        let thread = std::thread::spawn({
            let queue = queue.clone();
            move || queue.take()
        });
        queue.close();
        assert_eq!(thread.join().unwrap(), None);
        let (item, dropped) = tokio::sync::oneshot::channel::<()>();
        let queue = Queue::new(1);
        queue.push(item).await.unwrap();
        let (other, _keep) = tokio::sync::oneshot::channel();
        let mut waiting = Box::pin(queue.push(other));
        assert!(futures::poll!(&mut waiting).is_pending());
        queue.close();
        assert_eq!(waiting.await, Err(Turned::Closed));
        assert!(dropped.await.is_err(), "what waited was dropped");
        let (late, _keep) = tokio::sync::oneshot::channel();
        assert_eq!(queue.offer(late), Err(Turned::Closed));
    }
}
