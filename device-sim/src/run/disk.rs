//! The file system of the gateway's state, and a file that takes its room.
//!
//! The file has no name: it is unlinked as soon as it is made. So its room comes back whatever ends the
//! run, SIGKILL too, and the gateway never finds it. Who fills a disk that others use as well breaks
//! more than was asked for; so only small ones are taken, which somebody made for this.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

/// File systems of this size or more are not filled.
const MAX_SIZE: u64 = 1 << 30;
/// What is written at a time, as long as there is room for it; then blocks.
const CHUNK: usize = 1 << 20;
const BLOCK: usize = 4096;

/// Why a disk cannot be filled.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It is not for us alone.
    #[error(
        "`disk_full` fills the file system of the gateway's state_dir, {folder}, and takes only one of \
         less than 1 GiB: this has {} MiB. Make a small one for it: `mkdir -p {folder} && mount -t tmpfs \
         -o size=64m tmpfs {folder}`; who is not root does that and the run within `unshare -rm`",
        size >> 20
    )]
    TooLarge {
        /// Where the state is.
        folder: String,
        /// Bytes of the file system.
        size: u64,
    },
    /// The system does not tell its size, or does not let it be filled.
    #[error("cannot fill the file system of {folder}")]
    System {
        /// Where the state is.
        folder: String,
        /// Why.
        source: io::Error,
    },
}

impl DiskError {
    /// Whether the run has not what it needs.
    pub(super) const fn is_unreachable(&self) -> bool {
        match self {
            Self::TooLarge { .. } => true,
            Self::System { .. } => false,
        }
    }
}

/// A file system that may be filled.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    ballast: Option<File>,
}

impl Disk {
    /// That of a folder, which need not be there yet.
    pub(super) fn of(folder: &Path) -> Result<Self, DiskError> {
        let failed = |source| DiskError::System { folder: folder.display().to_string(), source };
        let whole = std::path::absolute(folder).map_err(failed)?;
        let there = whole.ancestors().find(|path| path.is_dir()).unwrap_or(&whole);
        let found = statvfs(there).map_err(|error| failed(error.into()))?;
        let size = found.f_blocks.saturating_mul(found.f_frsize);
        if size >= MAX_SIZE {
            return Err(DiskError::TooLarge { folder: whole.display().to_string(), size });
        }
        Ok(Self { folder: whole, ballast: None })
    }

    /// Leaves so many bytes free; all, without a number.
    pub(super) async fn leave(&mut self, free: Option<u64>) -> Result<(), DiskError> {
        self.ballast = None;
        let Some(free) = free else { return Ok(()) };
        let folder = self.folder.clone();
        let filling = tokio::task::spawn_blocking(move || fill(&folder, free));
        let filled = filling.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let filled = filled.map_err(|source| {
            let folder = self.folder.display().to_string();
            DiskError::System { folder, source }
        })?;
        self.ballast = Some(filled);
        Ok(())
    }
}

/// A file without a name that takes all room but so many bytes, as far as whole blocks allow it.
fn fill(folder: &Path, free: u64) -> io::Result<File> {
    let path = folder.join(format!(".device-sim-ballast-{}", std::process::id()));
    let mut file = File::options().write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    for size in [CHUNK, BLOCK] {
        // Not zeros, of which some file systems keep nothing.
        let bytes = vec![0xa5; size];
        loop {
            match file.write(&bytes) {
                // A limit of the file system on the size of a file would be met first.
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    let block = BLOCK as u64;
    let kept = file.metadata()?.len().saturating_sub(free.div_ceil(block).saturating_mul(block));
    file.set_len(kept)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_others_use_is_not_filled() {
        let error = Disk::of(Path::new("/")).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, DiskError::TooLarge { .. }), "{text}");
        assert!(
            text.contains("mount -t tmpfs -o size=64m tmpfs /`") && text.contains("unshare -rm")
        );
        // Neither is one on which the folder is still to be made.
        assert!(Disk::of(Path::new("/no/such/folder")).is_err());
    }
}
