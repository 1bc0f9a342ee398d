use proptest::prelude::*;

use super::*;
use crate::chat::{Event, ReadEvents};

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_answer(&bytes);
        let _ = read_error(&bytes);
        let _ = read_count(&bytes);
        let _ = embeddings::read_answer(&bytes);
        let _ = embeddings::read_vertex_answer(&bytes);
        let (mut reader, mut events): (Reader, Vec<Event>) = Default::default();
        let _ = reader.read(&bytes, &mut events).and_then(|()| reader.end(&mut events));
    }
}
