//! Crashes, damage and bounds of the store.

use std::fs;
use std::path::Path;

use domain::cache::Selection;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::testing::{NOW, ROOMY, answer_of, entry, invalidation, limits, store, take};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for found in fs::read_dir(from).unwrap() {
        let found = found.unwrap();
        let target = to.join(found.file_name());
        match found.file_type().unwrap().is_dir() {
            true => copy(&found.path(), &target),
            false => drop(fs::copy(found.path(), target).unwrap()),
        }
    }
}

/// All that is held, with its answers.
fn held(store: &Store) -> Vec<(Entry, Option<Bytes>)> {
    let entries = store.catalog().read().newest_first(&Workspace::default());
    entries.iter().map(|entry| (Entry::clone(entry), store.answer(entry))).collect()
}

#[test]
fn what_is_stored_is_there_after_a_restart() {
    let home = TempDir::new().unwrap();
    {
        let store = store(home.path());
        assert!(take(&store, 7, &entry("r1", "a", 10)));
        assert!(take(&store, 9, &entry("r2", "b", 11)));
        store.adopt("model");
        store.put_vector(&entry("r1", "a", 10), "model", &[0.6, 0.8]);
        store.flush();
    }
    let store = store(home.path());
    assert_eq!((store.position(), store.rebuilt()), (9, 0));
    let expected = [entry("r2", "b", 11), entry("r1", "a", 10)];
    assert_eq!(held(&store), expected.map(|entry| (entry.clone(), Some(answer_of(&entry)))));
    assert_eq!(store.index().read().top("p", &[0.6, 0.8], 5).len(), 1);
    assert_eq!(store.without_vector().iter().map(|place| place.id.as_str()).collect::<Vec<_>>(), ["r2"]);
}

#[test]
fn an_event_is_done_once_and_never_for_a_store_that_was_begun_anew() {
    let home = TempDir::new().unwrap();
    let store = store(home.path());
    assert!(take(&store, 7, &entry("r1", "a", 10)));
    assert!(!take(&store, 7, &entry("r2", "b", 11)), "the same position");
    let before = store.generation();
    assert!(store.begin_anew("a test", NOW));
    assert_eq!((store.position(), held(&store).len()), (0, 0));
    let late = entry("r3", "c", 12);
    let done = store.take((before, 8), late.stored_at, late.clone(), &answer_of(&late));
    assert!(done.stored.is_none() && store.position() == 0, "it would hide what comes before");
    assert!(take(&store, 7, &entry("r1", "a", 10)));
}

#[test]
fn a_directory_is_one_process_own() {
    let home = TempDir::new().unwrap();
    let _store = store(home.path());
    let err = Store::open(limits(home.path(), ROOMY), NOW).err().unwrap().to_string();
    assert!(err.contains("another process") && err.contains("cache.dir"), "{err}");
}

#[test]
fn narrower_bounds_hold_from_the_start() {
    let home = TempDir::new().unwrap();
    {
        let store = store(home.path());
        (1..=9).for_each(|n| assert!(take(&store, n, &entry(&format!("r{n}"), &format!("k{n}"), n))));
    }
    let two = Bounds { entries: 2, ..ROOMY };
    for _ in 0..2 {
        let store = Store::open(limits(home.path(), two), NOW).unwrap();
        let ids: Vec<_> = held(&store).into_iter().map(|(entry, _)| entry.id.to_string()).collect();
        assert_eq!(ids, ["r9", "r8"]);
    }
}

#[test]
fn an_id_that_is_used_again_never_gives_the_other_answer() {
    let home = TempDir::new().unwrap();
    let store = store(home.path());
    let (old, new) = (entry("r1", "a", 10), entry("r1", "b", 20));
    assert_eq!(old.size, new.size);
    take(&store, 1, &old);
    take(&store, 2, &new);
    assert_eq!(store.answer(&old), None, "somebody found the old entry just before");
    assert_eq!(store.answer(&new), Some(answer_of(&new)));
}

#[test]
fn a_database_that_grew_is_copied_and_a_half_made_copy_is_ignored() {
    let home = TempDir::new().unwrap();
    let limits = Limits { disk: 3 << 20, ..limits(home.path(), ROOMY) };
    let live = entry("live", "live", 1);
    let big = |n: u64| Entry { size: 200_000, ..entry(&format!("r{n}"), "k", n) };
    {
        let store = Store::open(limits.clone(), NOW).unwrap();
        take(&store, 1, &live);
        store.adopt("model");
        store.put_vector(&live, "model", &[1.0, 0.0]);
        for n in 2..60 {
            let noise: Vec<u8> = (0..200_000_u64).map(|i| (i.wrapping_mul(n * 7919) >> 7) as u8).collect();
            store.take((0, n), big(n).stored_at, big(n), &Bytes::from(noise));
        }
        store.flush();
        let before = store.disk_bytes();
        assert!(before > limits.disk, "{before} bytes");
        store.renew_if_needed();
        let after = store.disk_bytes();
        assert!(after < limits.disk, "{before} bytes became {after}");
        assert_eq!(store.answer(&live), Some(answer_of(&live)));
        assert_eq!(store.catalog().read().len(), 2);
        take(&store, 60, &entry("later", "later", 60));
    }
    fs::create_dir(home.path().join("store-99")).unwrap();
    fs::write(home.path().join("store-99/db"), "half a copy").unwrap();
    let store = Store::open(limits, NOW).unwrap();
    assert_eq!((store.position(), store.rebuilt(), store.catalog().read().len()), (60, 0, 3));
    assert_eq!(store.index().read().len(), 1);
    assert_eq!(store.answer(&live), Some(answer_of(&live)));
    assert!(!home.path().join("store-99").exists());
}

#[test]
fn what_names_no_database_begins_a_new_one() {
    let home = TempDir::new().unwrap();
    take(&store(home.path()), 1, &entry("r1", "a", 10));
    fs::write(home.path().join("current"), "../elsewhere").unwrap();
    let store = store(home.path());
    assert_eq!((store.position(), store.catalog().read().len()), (0, 0));
}

#[test]
fn one_damaged_database_is_kept_aside() {
    let home = TempDir::new().unwrap();
    for round in 1..=2 {
        {
            let store = store(home.path());
            take(&store, 1, &entry("r1", "a", 10));
            store.flush();
        }
        {
            // It says that it holds more than it does: something was lost.
            let name = fs::read_to_string(home.path().join("current")).unwrap();
            let disk = Disk::open(&home.path().join(name)).unwrap();
            disk.change(&Change { state: State::new(1, 5, 0), ..Change::default() }).unwrap();
        }
        let store = Store::open(limits(home.path(), ROOMY), Timestamp(round)).unwrap();
        assert_eq!((store.position(), store.rebuilt()), (0, 1));
        let names =
            fs::read_dir(home.path()).unwrap().map(|found| found.unwrap().file_name().into_string().unwrap());
        let aside: Vec<_> = names.filter(|name| name.starts_with("corrupt-")).collect();
        assert_eq!(aside, [format!("corrupt-{round}")]);
    }
}

/// What happens, in order: an answer, or something taken out.
#[derive(Clone, Debug)]
enum Happening {
    Stored(u64, u64),
    Invalidated(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..9_u64, 0..6_u64).prop_map(|(id, key)| Happening::Stored(id, key)),
        1 => (0..6_u64).prop_map(Happening::Invalidated),
    ]
}

fn happen(store: &Store, sequence: u64, happening: &Happening) {
    let place = (store.generation(), sequence);
    match happening {
        Happening::Stored(id, key) => {
            let entry = entry(&format!("r{id}"), &format!("k{key}"), sequence);
            store.take(place, entry.stored_at, entry.clone(), &answer_of(&entry));
        }
        Happening::Invalidated(key) => {
            let selection = Selection { keys: vec![format!("k{key}")], ..Selection::default() };
            store.invalidate(place, &Workspace::default(), &invalidation(selection, sequence));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn crashes_and_restarts_change_nothing(
        happenings in prop::collection::vec(happening(), 1..40),
        crashes in prop::collection::vec((0..40_u64, any::<bool>()), 0..4),
        most in 1..6_usize,
    ) {
        let bounds = Bounds { entries: most, ..ROOMY };
        let (calm, rough) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let steady = Store::open(limits(calm.path(), bounds), NOW).unwrap();
        let events: Vec<_> = (1..).zip(&happenings).collect();
        events.iter().for_each(|(sequence, happening)| happen(&steady, *sequence, happening));

        let mut homes = vec![rough];
        let mut store = Store::open(limits(homes[0].path(), bounds), NOW).unwrap();
        for (until, killed) in crashes.into_iter().chain([(u64::MAX, false)]) {
            let from = store.position();
            for (sequence, happening) in events.iter().filter(|(sequence, _)| *sequence > from && *sequence <= until) {
                happen(&store, *sequence, happening);
            }
            if killed {
                // What a process that is killed leaves: the files as they are, not flushed.
                let next = TempDir::new().unwrap();
                copy(homes.last().unwrap().path(), next.path());
                drop(store);
                homes.push(next);
            } else {
                drop(store);
            }
            store = Store::open(limits(homes.last().unwrap().path(), bounds), NOW).unwrap();
            prop_assert_eq!(store.rebuilt(), 0, "a crash is no damage");
        }
        let from = store.position();
        for (sequence, happening) in events.iter().filter(|(sequence, _)| *sequence > from) {
            happen(&store, *sequence, happening);
        }
        prop_assert_eq!(held(&store), held(&steady));
        prop_assert!(held(&store).iter().all(|(entry, answer)| *answer == Some(answer_of(entry))));
    }

    #[test]
    fn damaged_files_never_panic_nor_give_a_wrong_answer(
        spots in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let home = TempDir::new().unwrap();
        {
            let store = store(home.path());
            for n in 1..=40 {
                take(&store, n, &entry(&format!("r{n}"), &format!("k{n}"), n));
            }
            store.adopt("model");
            (1..=40).for_each(|n| store.put_vector(&entry(&format!("r{n}"), &format!("k{n}"), n), "model", &[1.0, 0.0]));
            let all = Selection { ids: vec![entry("r7", "k7", 7).id], ..Selection::default() };
            store.invalidate((0, 41), &Workspace::default(), &invalidation(all, 41));
            store.flush();
        }
        garble(home.path(), &spots, cut);
        let store = store(home.path());
        for (entry, answer) in held(&store) {
            prop_assert!(answer.is_none_or(|answer| answer == answer_of(&entry)), "the answer of {}", entry.id);
            prop_assert!(entry.id.as_str() != "r7" || store.position() < 41, "what was taken out is back");
        }
        // It goes on, whatever it was.
        if *store.damaged.borrow() {
            prop_assert!(store.begin_anew("a test", NOW));
        }
        let new = entry("new", "new", 100);
        prop_assert!(take(&store, 100, &new));
        prop_assert_eq!(store.answer(&new), Some(answer_of(&new)));
    }
}

/// Flips bytes where there are any but zeros, and cuts a file off.
fn garble(
    home: &Path,
    spots: &[(prop::sample::Index, prop::sample::Index, u8)],
    cut: Option<(prop::sample::Index, prop::sample::Index)>,
) {
    let name = fs::read_to_string(home.join("current")).unwrap();
    let mut files = Vec::new();
    let mut folders = vec![home.join(name)];
    while let Some(folder) = folders.pop() {
        for found in fs::read_dir(folder).unwrap() {
            let path = found.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.retain(|file| fs::metadata(file).unwrap().len() > 0);
    files.sort();
    for (file, at, with) in spots {
        let file = &files[file.index(files.len())];
        let mut bytes = fs::read(file).unwrap();
        let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        if !used.is_empty() {
            bytes[used[at.index(used.len())]] ^= with | 1;
            fs::write(file, bytes).unwrap();
        }
    }
    if let Some((file, at)) = cut {
        let file = &files[file.index(files.len())];
        let length = fs::metadata(file).unwrap().len() as usize;
        fs::File::options().write(true).open(file).unwrap().set_len(at.index(length) as u64).unwrap();
    }
}
