//! Replaces a file in one step: whoever reads it sees the old bytes or the new ones, also after a crash.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `bytes` to `path`: first to a temporary file beside it, which is flushed to the disk and then renamed.
///
/// On failure the temporary file is removed, and a file that was at `path` is as it was.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// As [`write`], with a function that writes the bytes as it makes them.
pub(crate) fn write_with(path: &Path, bytes: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let (mut file, temporary) = Temporary::create(directory)?;
    bytes(&mut file)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary.0, path)?;
    // It has another name now.
    std::mem::forget(temporary);
    sync_directory(directory)
}

/// A file that is removed when it goes out of scope.
struct Temporary(PathBuf);

impl Temporary {
    fn create(directory: &Path) -> io::Result<(File, Temporary)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        const ATTEMPTS: usize = 100;
        let mut refused = None;
        for _ in 0..ATTEMPTS {
            // A short name: the longest that `path` may have fits beside it.
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!(".foldgrad-{}-{number}.tmp", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((file, Temporary(path))),
                // Left behind by a killed process of the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into()))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The error that led here is the one to report.
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes the rename itself last.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_made_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weights");
        for bytes in [&b"one"[..], b"", b"three"] {
            write(&path, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        assert_eq!(entries(directory.path()), ["weights"]);
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        // A directory that is not empty cannot be replaced by a file: the rename fails after the writing.
        let taken = directory.path().join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("inside"), "kept").unwrap();
        write(&taken, b"new").unwrap_err();
        assert_eq!(entries(directory.path()), ["taken"]);
        assert_eq!(fs::read(taken.join("inside")).unwrap(), b"kept");
        write(&directory.path().join("missing/weights"), b"new").unwrap_err();
        assert_eq!(entries(directory.path()), ["taken"]);
    }

    #[test]
    fn a_leftover_of_a_killed_process_is_passed_by() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..20 {
            fs::write(directory.path().join(format!(".foldgrad-{}-{number}.tmp", std::process::id())), "old").unwrap();
        }
        write(&directory.path().join("weights"), b"new").unwrap();
        assert_eq!(entries(directory.path()).len(), 21);
    }
}
