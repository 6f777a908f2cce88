//! A file from one of several sources, checked, into a directory.
//!
//! ```text
//! NAME.part  ←  bytes, from where an earlier run stopped
//! SHA-256(NAME.part) = the published one ?  rename to NAME  :  delete, ask the next source
//! ```
//!
//! **Invariant:** a file under its final name is complete and genuine: it gets that name only after its hash was
//! checked, in one step. A reader needs no lock.
//!
//! **Invariant:** a source cannot fill the disk: more than [`Limits::max_bytes`] are not taken.

// Note [Two processes, one part]
// Two processes that write to one part would mix their bytes. A name of its own for each process would keep them
// apart, but then a part that a killed process left could not be found again to be resumed, and two processes would
// download twice. So whoever downloads holds a lock on a file beside the part; the others wait, and find the file
// there when they get the lock. The lock is on a file of its own, never renamed and never deleted: a lock on the part
// would be handed on with the part's old name. The operating system frees it when its holder dies. Where a file
// system has no locks, each process does take a part of its own.

#[cfg(feature = "download")]
mod http;
#[cfg(feature = "download")]
use http as transport;

use std::fs::{self, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::error::{Attempt, DataError};

/// A file to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, the same at the source and on disk.
    pub name: String,
    /// The SHA-256 of its bytes, 64 hexadecimal digits.
    pub sha256: String,
}

/// How long to wait, and how much to take.
///
/// The defaults bring a machine without a network to an answer within seconds, and let a slow line have the 26 MB
/// of the largest file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes that one file may have: 64 MiB.
    pub max_bytes: u64,
    /// To find the address of a source: 3 s.
    pub resolve: Duration,
    /// To connect to it: 5 s.
    pub connect: Duration,
    /// Without a byte arriving: 10 s.
    pub stall: Duration,
    /// For one request in all: 10 min.
    pub request: Duration,
    /// For another process that downloads the same: 15 min.
    pub lock: Duration,
    /// How often one source is asked to go on where it stopped: 4 times.
    pub resumptions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            resolve: Duration::from_secs(3),
            connect: Duration::from_secs(5),
            stall: Duration::from_secs(10),
            request: Duration::from_secs(600),
            lock: Duration::from_secs(900),
            resumptions: 4,
        }
    }
}

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The name of the file.
    pub file: &'a str,
    /// The bytes on disk, those of an earlier run included. It falls back to 0 where a source cannot resume.
    pub received: u64,
    /// The bytes of the whole file, if the source tells.
    pub total: Option<u64>,
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// The source (one of those handed over) that gave it, or `None` if it was there already.
    pub source: Option<String>,
}

/// Why a source did not give a file that could be used.
#[cfg_attr(not(feature = "download"), allow(dead_code, reason = "only the transport makes them"))]
pub(super) enum Failure {
    /// The bytes stopped coming; those on disk are good as far as one can tell.
    Cut(String),
    /// The source has nothing to give, or something else.
    Refused(String),
    /// This machine cannot keep the bytes; no other source would help.
    Disk(io::Error),
}

/// Sees to it that `file` is in `directory`, genuine, asking each of `sources` in turn.
///
/// A file that is there and has the right hash is left as it is; one with another hash is replaced. The directory is
/// made if need be. `progress` is called as bytes arrive.
///
/// # Errors
///
/// [`DataError::Download`] if no source gave the file, with what each of them answered (in a build without the feature
/// `download`: that it cannot). [`DataError::Io`] if the directory cannot be written.
pub fn fetch(
    file: &File,
    sources: &[String],
    directory: &Path,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Fetched, DataError> {
    let path = directory.join(&file.name);
    if is_genuine(file, directory, limits) {
        return Ok(Fetched { path, source: None });
    }
    fs::create_dir_all(directory).map_err(|source| io_error(directory, "make this directory", source))?;
    let lock = lock(directory, limits.lock)?;
    if is_genuine(file, directory, limits) {
        return Ok(Fetched { path, source: None });
    }
    let part = match &lock {
        Some(_) => directory.join(format!("{}.part", file.name)),
        None => directory.join(format!("{}.{}.part", file.name, std::process::id())),
    };

    let mut attempts = Vec::new();
    for source in sources {
        let url = format!("{}/{}", source.trim_end_matches('/'), file.name);
        match from_source(file, &url, &part, limits, progress) {
            Ok(()) => {
                put_in_place(&part, &path)?;
                return Ok(Fetched { path, source: Some(source.clone()) });
            }
            Err(Failure::Disk(source)) => return Err(io_error(&part, "write", source)),
            Err(Failure::Cut(reason) | Failure::Refused(reason)) => attempts.push(Attempt { url, reason }),
        }
    }
    Err(DataError::Download { file: file.name.clone(), directory: directory.to_owned(), attempts })
}

/// Whether `directory` holds `file` with the right hash.
pub fn is_genuine(file: &File, directory: &Path, limits: &Limits) -> bool {
    matches!(has_hash(&directory.join(&file.name), &file.sha256, limits.max_bytes), Ok(true))
}

/// Completes `part` from one source, until it has the right hash.
fn from_source(
    file: &File,
    url: &str,
    part: &Path,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Failure> {
    // Complete already, but for the renaming: a server would answer that there is nothing left to send.
    if has_hash(part, &file.sha256, limits.max_bytes).map_err(Failure::Disk)? {
        return Ok(());
    }
    let mut resumptions = 0;
    let mut resumed = length(part).map_err(Failure::Disk)? > 0;
    loop {
        let before = length(part).map_err(Failure::Disk)?;
        match transport::transfer(file, url, part, limits, progress) {
            Ok(()) => {}
            // Only as long as bytes arrive: a source that is dead is not asked five times.
            Err(Failure::Cut(_))
                if resumptions < limits.resumptions && length(part).map_err(Failure::Disk)? > before =>
            {
                resumptions += 1;
                continue;
            }
            Err(failure) => return Err(failure),
        }
        if has_hash(part, &file.sha256, limits.max_bytes).map_err(Failure::Disk)? {
            return Ok(());
        }
        fs::remove_file(part).map_err(Failure::Disk)?;
        if !resumed {
            return Err(Failure::Refused("what it sends has another SHA-256 than the published one".into()));
        }
        // The fault may lie in what an earlier run, or another source, had left.
        resumed = false;
    }
}

#[cfg(not(feature = "download"))]
mod transport {
    use super::{Failure, File, Limits, Path, Progress};

    pub(super) fn transfer(
        _: &File,
        _: &str,
        _: &Path,
        _: &Limits,
        _: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Failure> {
        Err(Failure::Refused("this foldgrad was built without the feature `download`".into()))
    }
}

/// Takes the lock of `directory`, or finds that there are no locks. See Note [Two processes, one part].
fn lock(directory: &Path, patience: Duration) -> Result<Option<fs::File>, DataError> {
    let path = directory.join(".lock");
    let file = fs::File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| io_error(&path, "write", source))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if start.elapsed() < patience => thread::sleep(Duration::from_millis(50)),
            Err(TryLockError::WouldBlock) => {
                let text = format!("another process has been downloading for {} s", patience.as_secs());
                return Err(io_error(&path, "lock", io::Error::new(io::ErrorKind::TimedOut, text)));
            }
            Err(TryLockError::Error(_)) => return Ok(None),
        }
    }
}

/// Gives the part its final name; both the bytes and the name outlive a loss of power.
fn put_in_place(part: &Path, path: &Path) -> Result<(), DataError> {
    let sync = fs::File::options().write(true).open(part).and_then(|file| file.sync_all());
    sync.map_err(|source| io_error(part, "write", source))?;
    fs::rename(part, path).map_err(|source| io_error(path, "rename the download into place", source))?;
    // Best effort: not every system lets one open a directory.
    if let Some(Ok(directory)) = path.parent().map(fs::File::open) {
        directory.sync_all().ok();
    }
    Ok(())
}

/// The length of the file, 0 if there is none.
fn length(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Whether there is such a file, of at most `max_bytes`, with this SHA-256.
fn has_hash(path: &Path, sha256: &str, max_bytes: u64) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() <= max_bytes => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    let digits: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(digits.eq_ignore_ascii_case(sha256))
}

fn io_error(path: &Path, action: &'static str, source: io::Error) -> DataError {
    DataError::Io { path: path.to_owned(), action, source }
}
