//! A clock for the gateway that jumps, by libfaketime.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;

/// Where systems keep the library, in a folder for each architecture.
const FOLDER: &str = "/usr/lib";
const LIBRARY: &str = "faketime/libfaketime.so.1";

/// A clock that is ahead of the right one.
#[derive(Debug)]
pub(super) struct FakeClock {
    library: PathBuf,
    file: PathBuf,
    ahead_ns: i64,
}

impl FakeClock {
    /// The right time, until it is stepped.
    ///
    /// # Errors
    /// When the system has no such library, or the file cannot be written.
    pub(super) fn new() -> io::Result<Self> {
        let folders = fs::read_dir(FOLDER)?.flatten();
        let mut libraries = folders.map(|folder| folder.path().join(LIBRARY));
        let library = libraries.find(|path| path.exists());
        let library = library.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "install libfaketime: there is none")
        })?;
        let name = format!(
            "device-sim-clock-{}-{:016x}",
            std::process::id(),
            getrandom::u64().unwrap_or_default()
        );
        let mut clock = Self { library, file: std::env::temp_dir().join(name), ahead_ns: 0 };
        clock.step(0)?;
        Ok(clock)
    }

    /// What a process has to have in its environment. Its monotonic clock stays the right one.
    pub(super) fn environment(&self) -> [(&'static str, OsString); 4] {
        [
            ("LD_PRELOAD", self.library.clone().into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.clone().into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// Jumps, in one step for whoever reads the file.
    pub(super) fn step(&mut self, by_ns: i64) -> io::Result<()> {
        self.ahead_ns = self.ahead_ns.saturating_add(by_ns);
        let (seconds, millis) = (self.ahead_ns / 1_000_000_000, self.ahead_ns / 1_000_000 % 1000);
        let sign = if self.ahead_ns < 0 { '-' } else { '+' };
        let text = format!("{sign}{}.{:03}", seconds.unsigned_abs(), millis.unsigned_abs());
        let new = self.file.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(new, &self.file)
    }
}

impl Drop for FakeClock {
    fn drop(&mut self) {
        // What is left is in the system's folder for such files.
        let _ = fs::remove_file(&self.file);
    }
}
