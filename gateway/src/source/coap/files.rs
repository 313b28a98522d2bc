//! Files for nodes, such as firmware and settings: a folder, which they read and, where that is
//! allowed, write.
//!
//! A path never leads [out of the folder](crate::source::folder).
//!
//! Everything here waits for the disk, so it is for threads that may, a few at a time.

mod uploads;

use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::coap::link_format::Link;
use proto::coap::{Code, ETag, Method, Request, Response, Target, check_segment, content_format};
use rustix::fs::{Mode, open};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::uploads::{UploadError, Uploads, is_temporary};
use super::resources::not_found;
use crate::config;
use crate::source::folder::{FOLDER, open_below};

/// The largest file that is served, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Files that are listed among the links.
const MAX_LISTED: usize = 256;
/// Entries of folders that are looked at for that.
const MAX_ENTRIES: usize = 4096;
/// Files and lists that are read or written at a time, by all clients; one more is told to come
/// back.
const MAX_LOADS: usize = 16;

/// A folder.
pub(super) struct Files {
    root: PathBuf,
    loads: Arc<Semaphore>,
    uploads: Option<Uploads>,
}

impl Files {
    /// A folder that must be there, and what nodes may do in it besides reading.
    pub(super) fn open(root: &Path, uploads: Option<&config::Uploads>) -> io::Result<Self> {
        open(root, FOLDER, Mode::empty())?;
        let uploads = uploads.map(|limits| Uploads::open(root, limits.clone())).transpose()?;
        Ok(Self { root: root.to_owned(), loads: Arc::new(Semaphore::new(MAX_LOADS)), uploads })
    }

    /// Refuses a method that is not allowed, with the text that says which are.
    pub(super) fn check_method(&self, method: Method) -> Result<(), &'static str> {
        let (allowed, text): (&[_], _) = match &self.uploads {
            None => (&[Method::Get], "GET"),
            Some(uploads) if uploads.may_delete() => {
                (&[Method::Get, Method::Put, Method::Delete], "GET, PUT or DELETE")
            }
            Some(_) => (&[Method::Get, Method::Put], "GET or PUT"),
        };
        if allowed.contains(&method) { Ok(()) } else { Err(text) }
    }

    /// The permission to read, or `None` where too many do.
    pub(super) fn start_load(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.loads).try_acquire_owned().ok()
    }

    /// Answers a GET of a file, or a PUT or DELETE that is [allowed](Self::check_method).
    pub(super) fn serve(&self, request: &Request) -> Result<Response, UploadError> {
        let path: Vec<_> = request.segments().skip(1).collect();
        match &self.uploads {
            Some(uploads) if request.method == Method::Put => uploads.save(self, request, &path),
            Some(uploads) if request.method == Method::Delete => {
                uploads.delete(self, request, &path)
            }
            Some(_) | None => Ok(self.load(request, &path.join("/"))),
        }
    }

    /// Links to the files, in the order of their paths.
    pub(super) fn list(&self) -> Vec<Link> {
        let mut files = Vec::new();
        self.walk(MAX_ENTRIES, |path, size| {
            if size <= MAX_FILE {
                files.push((path.to_owned(), size));
            }
        });
        files.sort_unstable();
        files.iter().take(MAX_LISTED).filter_map(|(path, size)| link(path, *size)).collect()
    }

    fn load(&self, request: &Request, path: &str) -> Response {
        let Ok(payload) = self.read(path) else {
            return request.check_conditions(Target::Absent).err().unwrap_or_else(not_found);
        };
        let format = format_of(path);
        if request.accepts().is_some_and(|wanted| Some(wanted) != format) {
            return Response::new(Code::NOT_ACCEPTABLE);
        }
        let etag = ETag::of(format, &payload);
        if let Err(response) = request.check_conditions(Target::Present(Some(etag))) {
            return response;
        }
        if let Some(response) = request.still_valid(etag) {
            return response;
        }
        let response = Response::new(Code::CONTENT).etag(etag).payload(payload);
        format.into_iter().fold(response, Response::content_format)
    }

    /// Shows the regular files that nodes can name, with their size, among so many entries.
    fn walk(&self, entries: usize, mut see: impl FnMut(&str, u64)) {
        let mut folders = vec![String::new()];
        let mut left = entries;
        while let Some(folder) = folders.pop() {
            // A folder that is gone or closed to us has nothing to show.
            let Ok(entries) = self.root.join(&folder).read_dir() else { continue };
            for entry in entries.flatten().take(left) {
                left -= 1;
                let name = entry.file_name();
                let (Some(name), Ok(meta)) = (name.to_str(), entry.metadata()) else { continue };
                if check_segment(name.as_bytes()).is_err() || is_temporary(name) {
                    continue;
                }
                let path = if folder.is_empty() { name.into() } else { format!("{folder}/{name}") };
                if meta.is_dir() {
                    folders.push(path);
                } else if meta.is_file() {
                    see(&path, meta.len());
                }
            }
        }
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        if is_temporary(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let (file, _) = open_below(&self.root, path)?;
        let mut content = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut content)?;
        if content.len() as u64 > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(content)
    }
}

/// A path below `root` as a link has it (RFC 3986 §2.1).
pub(super) fn target(root: &str, path: &str) -> String {
    let mut target = root.to_owned();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            target.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(target, "%{byte:02X}");
        }
    }
    target
}

fn link(path: &str, size: u64) -> Option<Link> {
    let link = Link::new(&target("/files/", path)).ok()?.with("sz", &size.to_string()).ok()?;
    match format_of(path) {
        Some(format) => link.with("ct", &format.to_string()).ok(),
        None => Some(link),
    }
}

/// The Content-Format that is registered for what an extension stands for, if there is one.
fn format_of(path: &str) -> Option<u16> {
    Some(match Path::new(path).extension()?.to_str()? {
        "txt" => content_format::TEXT_PLAIN,
        "wlnk" => content_format::LINK_FORMAT,
        "xml" => 41,
        "bin" => content_format::OCTET_STREAM,
        "json" => content_format::JSON,
        "cbor" => content_format::CBOR,
        "gif" => 21,
        "jpg" | "jpeg" => 22,
        "png" => 23,
        "senml" => content_format::SENML_JSON,
        "senmlc" => content_format::SENML_CBOR,
        "js" => 10_002,
        "css" => 20_000,
        "svg" => 30_000,
        _ => return None,
    })
}
