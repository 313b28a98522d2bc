//! Files that nodes send: each is in its place whole and durable, or not at all.
//!
//! A body is written to a temporary file in the folder itself and synced. Then, one upload at a time,
//! conditions and limits are checked, the file is renamed to its place, and its folder is synced;
//! only then is it acknowledged. Who reads meanwhile gets the old file or the new one, and of two
//! uploads at once the one that is renamed last stays. What a crash leaves is a temporary file, which
//! nobody can name and the next start deletes.
//!
//! Folders are the operator's: none is made for a path, and no symbolic link in it is followed or
//! replaced.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use proto::coap::{Code, ETag, OptionNumber, Request, Response, Target, check_segment};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, fsync, open, openat, openat2, renameat, statat,
    unlinkat,
};
use tracing::error;

use super::{Files, MAX_FILE, format_of};
use crate::config;

/// What the names of temporary files begin with.
const TEMPORARY: &str = ".upload-";
/// Seconds until a node should try again when the disk is full.
const FULL_SECONDS: u32 = 30;
/// A folder whose entries can be synced.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Whether a path is that of a file which is not in its place yet.
pub(super) fn is_temporary(path: &str) -> bool {
    path.starts_with(TEMPORARY)
}

/// Why a file was not written or deleted.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum UploadError {
    #[error("the name {0:?} is not allowed: use one without control characters or a dot in front")]
    Name(String),
    #[error("there is no such folder; a path needs folders that are there")]
    NoFolder,
    #[error("this is not a file; choose another name")]
    NotAFile,
    #[error("the name stands for Content-Format {0}; send that, or none")]
    Format(u16),
    #[error("If-Match or If-None-Match is not fulfilled")]
    Condition,
    #[error(
        "there is room for {left} more bytes; delete something, or see `link.uploads.max_bytes`"
    )]
    Bytes { left: u64 },
    #[error("there are {0} files; delete one, or see `link.uploads.max_files`")]
    Files(u16),
    #[error("the disk is full, try again later")]
    DiskFull,
    #[error("the disk failed, see the gateway's log")]
    Disk(#[source] io::Error),
}

impl UploadError {
    /// The answer to the node.
    pub(in super::super) fn response(&self) -> Response {
        let response = match self {
            Self::Name(_) | Self::NotAFile | Self::Files(_) => Response::new(Code::FORBIDDEN),
            Self::NoFolder => Response::new(Code::NOT_FOUND),
            Self::Format(_) => Response::new(Code::UNSUPPORTED_CONTENT_FORMAT),
            Self::Condition => return Response::new(Code::PRECONDITION_FAILED),
            Self::Bytes { left } => Response::new(Code::REQUEST_ENTITY_TOO_LARGE)
                .size1(u32::try_from(*left).unwrap_or(u32::MAX)),
            Self::DiskFull => Response::new(Code::SERVICE_UNAVAILABLE).max_age(FULL_SECONDS),
            Self::Disk(_) => Response::new(Code::INTERNAL_SERVER_ERROR),
        };
        response.diagnostic(&self.to_string())
    }
}

impl From<io::Error> for UploadError {
    fn from(error: io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::DiskFull;
        }
        error!(%error, "cannot write or delete a node's file");
        Self::Disk(error)
    }
}

impl From<rustix::io::Errno> for UploadError {
    fn from(errno: rustix::io::Errno) -> Self {
        io::Error::from(errno).into()
    }
}

/// What nodes may do in a folder, and whose turn it is.
#[derive(Debug)]
pub(super) struct Uploads {
    limits: config::Uploads,
    /// Held from the check of conditions and limits until the file is in its place.
    turn: Mutex<()>,
    /// Names temporary files.
    next: AtomicU64,
}

impl Uploads {
    /// Deletes what an earlier process left in the folder.
    pub(super) fn open(root: &Path, limits: config::Uploads) -> io::Result<Self> {
        for entry in root.read_dir()? {
            let entry = entry?;
            let is_ours = entry.file_name().to_str().is_some_and(is_temporary);
            if is_ours && entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { limits, turn: Mutex::default(), next: AtomicU64::new(0) })
    }

    pub(super) const fn may_delete(&self) -> bool {
        self.limits.delete
    }

    /// Answers a PUT: the file is durable then.
    pub(super) fn save(
        &self,
        files: &Files,
        request: &Request,
        path: &[&str],
    ) -> Result<Response, UploadError> {
        let place = Place::open(files, path)?;
        let format = format_of(&place.path);
        let sent = request.options.content_format();
        if let Some(format) = format.filter(|format| sent.is_some_and(|sent| sent != *format)) {
            return Err(UploadError::Format(format));
        }
        if request.payload.len() as u64 > MAX_FILE {
            return Err(UploadError::Bytes { left: MAX_FILE });
        }
        let temporary = self.write(&place.root, &request.payload)?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let target = place.target(files, request)?;
        self.check_room(files, &place.path, target, request.payload.len() as u64)?;
        temporary.rename(&place)?;
        fsync(&place.folder)?;
        let code = if target == Target::Absent { Code::CREATED } else { Code::CHANGED };
        Ok(Response::new(code).etag(ETag::of(format, &request.payload)))
    }

    /// Answers a DELETE. One of a file that is not there is a success too (RFC 7252 §5.8.4).
    pub(super) fn delete(
        &self,
        files: &Files,
        request: &Request,
        path: &[&str],
    ) -> Result<Response, UploadError> {
        let place = Place::open(files, path)?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if place.target(files, request)? != Target::Absent {
            unlinkat(&place.folder, place.name, AtFlags::empty())?;
            fsync(&place.folder)?;
        }
        Ok(Response::new(Code::DELETED))
    }

    /// Checks that there is room for a file of so many bytes in place of what is there.
    fn check_room(
        &self,
        files: &Files,
        path: &str,
        target: Target,
        len: u64,
    ) -> Result<(), UploadError> {
        let (mut count, mut bytes) = (0_usize, 0_u64);
        files.walk(usize::MAX, |other, size| {
            if other != path {
                count += 1;
                bytes = bytes.saturating_add(size);
            }
        });
        let left = self.limits.max_bytes.bytes().saturating_sub(bytes);
        if len > left {
            return Err(UploadError::Bytes { left });
        }
        // One that is replaced takes the room that it has.
        if target == Target::Absent && count >= usize::from(self.limits.max_files) {
            return Err(UploadError::Files(self.limits.max_files));
        }
        Ok(())
    }

    fn write<'a>(&self, root: &'a OwnedFd, payload: &[u8]) -> Result<Temporary<'a>, UploadError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{TEMPORARY}{}-{number}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = openat(root, &name, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o644))?;
        let temporary = Temporary { root, name, is_placed: false };
        let mut file = File::from(file);
        file.write_all(payload)?;
        file.sync_all()?;
        Ok(temporary)
    }
}

/// A file that is not in its place; deleted where it does not get there.
struct Temporary<'a> {
    root: &'a OwnedFd,
    name: String,
    is_placed: bool,
}

impl Temporary<'_> {
    fn rename(mut self, place: &Place<'_>) -> Result<(), UploadError> {
        renameat(self.root, &self.name, &place.folder, place.name)?;
        self.is_placed = true;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.is_placed {
            // The next start deletes it.
            let _ = unlinkat(self.root, &self.name, AtFlags::empty());
        }
    }
}

/// Where a file is to be.
struct Place<'a> {
    root: OwnedFd,
    folder: OwnedFd,
    name: &'a str,
    path: String,
}

impl<'a> Place<'a> {
    fn open(files: &Files, path: &[&'a str]) -> Result<Self, UploadError> {
        if let Some(segment) = path.iter().find(|segment| !is_name(segment)) {
            return Err(UploadError::Name((*segment).to_owned()));
        }
        let Some((&name, folders)) = path.split_last() else {
            return Err(UploadError::Name(String::new()));
        };
        let root = open(&files.root, FOLDER, Mode::empty())?;
        let folder = match folders {
            [] => root.try_clone()?,
            folders => open_folder(&root, &folders.join("/"))?,
        };
        Ok(Self { root, folder, name, path: path.join("/") })
    }

    /// What is there now, if the request may change it.
    fn target(&self, files: &Files, request: &Request) -> Result<Target, UploadError> {
        let target = match statat(&self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                let wants_etag = request.options.all(OptionNumber::IF_MATCH).any(|v| !v.is_empty());
                let content = wants_etag.then(|| files.read(&self.path).ok()).flatten();
                Target::Present(content.map(|content| ETag::of(format_of(&self.path), &content)))
            }
            Ok(_) => return Err(UploadError::NotAFile),
            Err(rustix::io::Errno::NOENT) => Target::Absent,
            Err(errno) => return Err(errno.into()),
        };
        request.check_conditions(target).map_err(|_| UploadError::Condition)?;
        Ok(target)
    }
}

/// Opens a folder below another one, without following any link.
fn open_folder(root: impl AsFd, path: &str) -> Result<OwnedFd, UploadError> {
    use rustix::io::Errno;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, FOLDER, Mode::empty(), resolve).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => UploadError::NoFolder,
        errno => errno.into(),
    })
}

/// Whether a node may give a file this name.
fn is_name(segment: &str) -> bool {
    !segment.is_empty()
        && !segment.starts_with('.')
        && !segment.contains(char::is_control)
        && check_segment(segment.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests;
