//! Files below a folder, by names that come from outside.
//!
//! A path is resolved by the kernel below the folder (`openat2` with `RESOLVE_BENEATH`), so that
//! neither `..` nor a link leads out of it, not even one that is made at that moment.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

/// How a folder is opened, in which something else is to be found.
pub(super) const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a regular file below a folder for reading, and says how large it is.
pub(super) fn open_below(root: &Path, path: &str) -> io::Result<(File, u64)> {
    let root = open(root, FOLDER, Mode::empty())?;
    // Opening a pipe would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let below = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = File::from(openat2(root, path, flags, Mode::empty(), below)?);
    let meta = file.metadata()?;
    if meta.is_file() { Ok((file, meta.len())) } else { Err(io::ErrorKind::NotFound.into()) }
}
