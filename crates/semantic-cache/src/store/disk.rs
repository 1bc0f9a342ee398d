//! The database on disk: sled, of which nothing is expected but that it mostly remembers.
//!
//! Whatever it says or panics about ends in a [`Trouble`]. A change is one transaction, and says how many entries there
//! are afterwards and which: so a database that has lost or kept what it should not is told from a good one.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::Bytes;
use domain::Workspace;
use domain::cache::{Entry, Invalidation};
use serde::{Deserialize, Serialize};
use sled::transaction::{TransactionError, Transactional as _};
use sled::{Db, Tree};

use super::record::{read_vector, seal, unseal, write_vector};
use crate::catalog::Place;

/// Memory for pages. sled takes several times as much.
const PAGES: u64 = 32 << 20;

/// sled writes by itself this often.
const FLUSH_MS: u64 = 500;

/// Version of the records' form; another one's database is begun anew.
const FORM: u32 = 1;

const STATE: &[u8] = b"state";
const MODEL: &[u8] = b"model";

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The database is damaged: it has to be begun anew.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// The disk is full or fails.
    #[error("{0}")]
    Away(String),
}

impl Trouble {
    /// Whether the database has to be begun anew.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

impl From<sled::Error> for Trouble {
    fn from(err: sled::Error) -> Self {
        match err {
            // Files that are too short, or not there, are damage as well.
            sled::Error::Io(err) => match err.kind() {
                ErrorKind::UnexpectedEof
                | ErrorKind::InvalidData
                | ErrorKind::InvalidInput
                | ErrorKind::NotFound => Self::Damaged(err.to_string()),
                _ => Self::Away(err.to_string()),
            },
            err => Self::Damaged(err.to_string()),
        }
    }
}

/// What the database says of itself with every change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    form: u32,
    /// Position of the event stream up to which it has followed.
    pub(crate) position: u64,
    /// Entries that are held.
    pub(crate) entries: u64,
    /// Exclusive or of the entries' hashes.
    pub(crate) mark: u64,
}

impl State {
    /// What is true after a change.
    pub(crate) fn new(position: u64, entries: u64, mark: u64) -> Self {
        Self { form: FORM, position, entries, mark }
    }
}

/// What was taken out by hand, and by which event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noted {
    pub(crate) sequence: u64,
    pub(crate) workspace: Workspace,
    pub(crate) invalidation: Invalidation,
}

/// What changes at once.
#[derive(Debug, Default)]
pub(crate) struct Change<'a> {
    /// Is stored.
    pub(crate) put: Option<(&'a Entry, &'a [u8])>,
    /// Are removed.
    pub(crate) gone: Vec<&'a Place>,
    /// Is remembered.
    pub(crate) noted: Vec<&'a Noted>,
    /// Are forgotten, by their event.
    pub(crate) forgotten: Vec<u64>,
    /// What is true afterwards.
    pub(crate) state: State,
}

/// What was found on disk.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) state: State,
    pub(crate) entries: Vec<Entry>,
    pub(crate) noted: Vec<Noted>,
}

/// The open database.
pub(crate) struct Disk {
    db: Db,
    entries: Tree,
    answers: Tree,
    vectors: Tree,
    noted: Tree,
    meta: Tree,
}

impl Disk {
    /// Opens the database, or makes an empty one.
    pub(crate) fn open(path: &Path) -> Result<Self, Trouble> {
        guarded("open it", || {
            let config = sled::Config::new().path(path).cache_capacity(PAGES).flush_every_ms(Some(FLUSH_MS));
            let db = config.open()?;
            let tree = |name: &str| db.open_tree(name);
            Ok(Self {
                entries: tree("entries")?,
                answers: tree("answers")?,
                vectors: tree("vectors")?,
                noted: tree("invalidations")?,
                meta: tree("meta")?,
                db,
            })
        })
    }

    /// All but answers and vectors.
    pub(crate) fn load(&self) -> Result<Loaded, Trouble> {
        guarded("load it", || {
            let state = match self.meta.get(STATE)? {
                Some(record) => Some(read::<State>(STATE, &record)?),
                None => None,
            };
            let mut loaded = Loaded { state: state.unwrap_or_default(), ..Loaded::default() };
            for found in &self.entries {
                let (key, record) = found?;
                loaded.entries.push(read(&key, &record)?);
            }
            for found in &self.noted {
                let (key, record) = found?;
                loaded.noted.push(read(&key, &record)?);
            }
            if state.is_some_and(|state| state.form != FORM) {
                return Err(damaged("it was written by another version"));
            }
            Ok(loaded)
        })
    }

    /// Hands over all vectors of a model, one by one. Damaged ones are as good as none.
    pub(crate) fn each_vector(&self, mut take: impl FnMut(Place, &str, Vec<f32>)) -> Result<(), Trouble> {
        guarded("load its vectors", || {
            for found in &self.vectors {
                let (key, record) = found?;
                let vector = unseal(&key, &record).and_then(read_vector);
                if let (Some(place), Some((model, values))) = (Place::read(&key), vector) {
                    take(place, model, values);
                }
            }
            Ok(())
        })
    }

    /// Changes all of it, or nothing.
    pub(crate) fn change(&self, change: &Change<'_>) -> Result<(), Trouble> {
        let state = json(&change.state);
        let put = change.put.map(|(entry, answer)| {
            let key = Place::of(entry).key();
            (seal(key.as_bytes(), &json(entry)), seal(named(entry).as_bytes(), answer), key)
        });
        guarded("write to it", || {
            let trees = (&self.entries, &self.answers, &self.vectors, &self.noted, &self.meta);
            let done = trees.transaction(|(entries, answers, vectors, noted, meta)| {
                for place in &change.gone {
                    let key = place.key();
                    entries.remove(key.as_bytes())?;
                    answers.remove(key.as_bytes())?;
                    vectors.remove(key.as_bytes())?;
                }
                if let Some((entry, answer, key)) = &put {
                    entries.insert(key.as_bytes(), entry.as_slice())?;
                    answers.insert(key.as_bytes(), answer.as_slice())?;
                }
                for note in &change.noted {
                    let key = note.sequence.to_be_bytes();
                    noted.insert(&key, seal(&key, &json(note)))?;
                }
                for sequence in &change.forgotten {
                    noted.remove(&sequence.to_be_bytes())?;
                }
                meta.insert(STATE, seal(STATE, &state))?;
                Ok(())
            });
            done.map_err(|err: TransactionError<()>| match err {
                TransactionError::Storage(err) => err,
                TransactionError::Abort(()) => damaged("a transaction was given up"),
            })
        })
    }

    /// The bytes of an answer. None: there are none, or they are damaged.
    pub(crate) fn answer(&self, entry: &Entry) -> Result<Option<Bytes>, Trouble> {
        guarded("read from it", || {
            let record = self.answers.get(Place::of(entry).key())?;
            let named = named(entry);
            Ok(record.and_then(|record| unseal(named.as_bytes(), &record).map(Bytes::copy_from_slice)))
        })
    }

    /// Keeps a vector.
    pub(crate) fn put_vector(&self, place: &Place, model: &str, values: &[f32]) -> Result<(), Trouble> {
        let key = place.key();
        let Some(vector) = write_vector(model, values) else { return Ok(()) };
        guarded("write to it", || {
            self.vectors.insert(key.as_bytes(), seal(key.as_bytes(), &vector)).map(|_| ())
        })
    }

    /// Copies what belongs to these places into another database. Returns those of which there is no entry.
    pub(crate) fn copy_into<'a>(
        &self,
        other: &Self,
        places: impl Iterator<Item = &'a Place>,
    ) -> Result<BTreeSet<Place>, Trouble> {
        guarded("copy it", || {
            let mut missing = BTreeSet::new();
            let trees = [
                (&self.entries, &other.entries),
                (&self.answers, &other.answers),
                (&self.vectors, &other.vectors),
            ];
            for place in places {
                let key = place.key();
                if !self.entries.contains_key(key.as_bytes())? {
                    missing.insert(place.clone());
                    continue;
                }
                for (from, to) in trees {
                    if let Some(record) = from.get(key.as_bytes())? {
                        to.insert(key.as_bytes(), record)?;
                    }
                }
            }
            Ok(missing)
        })
    }

    /// Digest of the model whose vectors count.
    pub(crate) fn model(&self) -> Result<Option<String>, Trouble> {
        guarded("read from it", || {
            let record = self.meta.get(MODEL)?;
            record.map(|record| read(MODEL, &record)).transpose()
        })
    }

    /// From now on vectors of this model count.
    pub(crate) fn set_model(&self, model: &str) -> Result<(), Trouble> {
        guarded("write to it", || self.meta.insert(MODEL, seal(MODEL, &json(&model))).map(|_| ()))
    }

    /// Bytes on disk.
    pub(crate) fn size(&self) -> Result<u64, Trouble> {
        guarded("measure it", || self.db.size_on_disk())
    }

    /// Hands everything to the operating system.
    pub(crate) fn flush(&self) -> Result<(), Trouble> {
        guarded("flush it", || self.db.flush().map(|_| ()))
    }
}

/// sled panics where it finds what it did not expect.
fn guarded<T>(what: &str, act: impl FnOnce() -> sled::Result<T>) -> Result<T, Trouble> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(done) => done.map_err(Trouble::from),
        Err(_) => Err(Trouble::Damaged(format!("the attempt to {what} panicked"))),
    }
}

/// What an answer's checksum ties it to: the id alone may be used again for another request.
fn named(entry: &Entry) -> String {
    format!("{} {} {}", Place::of(entry).key(), entry.key, entry.stored_at.0)
}

fn damaged(what: &str) -> sled::Error {
    sled::Error::ReportableBug(what.to_owned())
}

fn read<T: serde::de::DeserializeOwned>(key: &[u8], record: &[u8]) -> sled::Result<T> {
    let payload = unseal(key, record).ok_or_else(|| damaged("a record's checksum is wrong"))?;
    serde_json::from_slice(payload).map_err(|err| damaged(&format!("a record cannot be read: {err}")))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("records have string keys and are written to memory")
}
