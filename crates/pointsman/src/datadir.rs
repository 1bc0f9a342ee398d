//! The directory where a process keeps its data and keys: one process at a time, closed to other users.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const LOCK: &str = "lock";
const SEALING_KEY: &str = "sealing.key";
const CLUSTER_SECRET: &str = "cluster.secret";
/// Where the text of the first administrator's API key is.
pub const ADMIN_KEY: &str = "admin.key";

/// A data directory that is ours until this is dropped or the process dies.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The operating system releases the lock with the file.
    _lock: File,
}

impl DataDir {
    /// Creates the directory if need be, and takes it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        create(path)?;
        let file = path.join(LOCK);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .with_context(|| format!("open {}", file.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "data directory {} is in use by pointsman{}; stop it or choose another with --data-dir",
                path.display(),
                holder(&mut lock)
            ),
            Err(TryLockError::Error(err)) => {
                return Err(err).with_context(|| format!("lock {}", file.display()));
            }
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .context("write the lock file")?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key that opens credentials; made up at the first call.
    pub fn sealing_key(&self) -> anyhow::Result<[u8; 32]> {
        sealing_key(&self.path)
    }

    /// What roles believe each other by; made up at the first call.
    pub fn cluster_secret(&self) -> anyhow::Result<[u8; 32]> {
        bytes_of(&self.path, CLUSTER_SECRET, "give all processes the same one, or requests are refused")
    }

    /// Keeps the text of the first administrator's API key for commands on this machine.
    pub fn keep_admin_key(&self, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(ADMIN_KEY);
        write_secret(&self.path, text)?
            .persist(&path)
            .map_err(|err| err.error)
            .with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// " (pid 1234)", if the holder has written it already.
fn holder(lock: &mut File) -> String {
    let mut pid = String::new();
    match lock.read_to_string(&mut pid) {
        Ok(_) if !pid.trim().is_empty() => format!(" (pid {})", pid.trim()),
        _ => String::new(),
    }
}

fn create(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("create data directory {}", path.display()))
}

/// The key in a data directory that another process may hold; made up at the first call.
pub fn sealing_key(data_dir: &Path) -> anyhow::Result<[u8; 32]> {
    bytes_of(data_dir, SEALING_KEY, "restore it, or credentials sealed for it are lost")
}

/// The cluster secret in a data directory that another process may hold. None: there is none.
pub fn cluster_secret(data_dir: &Path) -> anyhow::Result<Option<[u8; 32]>> {
    if !data_dir.join(CLUSTER_SECRET).exists() {
        return Ok(None);
    }
    bytes_of(data_dir, CLUSTER_SECRET, "give all processes the same one, or requests are refused").map(Some)
}

/// 32 bytes in a file of their own; made up at the first call.
fn bytes_of(data_dir: &Path, name: &str, otherwise: &str) -> anyhow::Result<[u8; 32]> {
    create(data_dir)?;
    let path = data_dir.join(name);
    if !path.try_exists().with_context(|| format!("look for {}", path.display()))? {
        generate(data_dir, &path)?;
    }
    let mode =
        std::fs::metadata(&path).with_context(|| format!("look at {}", path.display()))?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!(
            "{} can be read by other users (mode {:o}): run `chmod 600 {}`, and replace credentials they may have seen",
            path.display(),
            mode & 0o777,
            path.display()
        );
    }
    let text = std::fs::read_to_string(&path).map(Zeroizing::new);
    let text = text.with_context(|| format!("read {}", path.display()))?;
    let key = STANDARD.decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    key.with_context(|| format!("{} does not hold 32 bytes in base64: {otherwise}", path.display()))
}

/// Appears complete or not at all; the first of several processes wins.
fn generate(data_dir: &Path, path: &Path) -> anyhow::Result<()> {
    let key = Zeroizing::new(rand::random::<[u8; 32]>());
    let text = Zeroizing::new(STANDARD.encode(key.as_slice()));
    match write_secret(data_dir, &text)?.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(err) if err.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(err) => Err(err.error).with_context(|| format!("create {}", path.display())),
    }
}

/// A file that is not in its place yet. Temporary files are closed to other users from the start.
fn write_secret(data_dir: &Path, text: &str) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new_in(data_dir).context("create a key file")?;
    writeln!(file, "{text}").and_then(|()| file.as_file().sync_all()).context("write a key file")?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_second_instance_is_refused_until_the_first_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep/data");
        let first = DataDir::open(&path).unwrap();
        assert_eq!((first.path(), mode(&path)), (path.as_path(), 0o700));
        let err = DataDir::open(&path).unwrap_err().to_string();
        let (path_text, pid) = (path.display(), std::process::id());
        assert_eq!(
            err,
            format!(
                "data directory {path_text} is in use by pointsman (pid {pid}); \
                 stop it or choose another with --data-dir"
            )
        );
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn the_sealing_key_is_made_once_and_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| sealing_key(dir.path()).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let data_dir = DataDir::open(dir.path()).unwrap();
        assert!(keys.iter().all(|key| *key == data_dir.sealing_key().unwrap()));
        assert_ne!(keys[0], [0; 32]);
        assert_eq!(mode(&dir.path().join(SEALING_KEY)), 0o600);
        assert_ne!(sealing_key(tempfile::tempdir().unwrap().path()).unwrap(), keys[0]);
    }

    #[test]
    fn a_sealing_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let before = sealing_key(dir.path()).unwrap();
        let path = dir.path().join(SEALING_KEY);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let err = sealing_key(dir.path()).unwrap_err().to_string();
        assert!(err.contains("(mode 640): run `chmod 600 ") && err.contains("sealing.key`"), "{err}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(sealing_key(dir.path()).unwrap(), before);
    }

    #[test]
    fn a_broken_sealing_key_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        sealing_key(dir.path()).unwrap();
        let path = dir.path().join(SEALING_KEY);
        std::fs::write(&path, "c2hvcnQ=").unwrap();
        let err = sealing_key(dir.path()).unwrap_err().to_string();
        assert!(err.contains("does not hold 32 bytes in base64"), "{err}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "c2hvcnQ=");
    }
}
