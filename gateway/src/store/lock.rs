//! Makes sure that one gateway at a time uses a state directory.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::StoreError;

/// The file whose lock says that a gateway runs; it holds its process id.
const FILE: &str = "lock";
/// How often the lock is tried: [`is_locked`] holds it for a moment.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Locks `directory` for as long as the file lives.
pub(super) fn lock(directory: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Directory { path: directory.to_owned(), source };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(directory.join(FILE))
        .map_err(failed)?;
    let mut attempts = 1;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if attempts < ATTEMPTS => {
                attempts += 1;
                thread::sleep(PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                let holder = holder(&mut file).map_or(String::new(), |pid| format!(" ({pid})"));
                return Err(StoreError::Locked { path: directory.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

/// The gateway that uses `directory`, such as `process 17`; none where it is free, or no gateway
/// has ever used it.
pub(crate) fn is_locked(directory: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(directory.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            Ok(Some(holder(&mut file).unwrap_or_else(|| "a process".to_owned())))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn holder(file: &mut File) -> Option<String> {
    let mut pid = String::new();
    file.take(20).read_to_string(&mut pid).ok()?;
    let pid = pid.trim();
    (!pid.is_empty()).then(|| format!("process {pid}"))
}
