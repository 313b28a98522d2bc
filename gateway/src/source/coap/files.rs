//! Files for nodes, such as firmware and settings: a folder, read only.
//!
//! A path is resolved by the kernel below the folder (`openat2` with `RESOLVE_BENEATH`), so that
//! neither `..` nor a link leads out of it, not even one that is made at that moment.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::coap::link_format::Link;
use proto::coap::{Code, ETag, Request, Response, check_segment, content_format};
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::resources::not_found;

/// The largest file that is served, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Files that are listed among the links.
const MAX_LISTED: usize = 256;
/// Entries of folders that are looked at for that.
const MAX_ENTRIES: usize = 4096;
/// Files and lists that are read at a time, by all clients; one more is told to come back.
const MAX_LOADS: usize = 16;

/// A folder.
pub(super) struct Files {
    root: PathBuf,
    loads: Arc<Semaphore>,
}

impl Files {
    /// A folder that must be there.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let files = Self { root: root.to_owned(), loads: Arc::new(Semaphore::new(MAX_LOADS)) };
        open(root, FOLDER, Mode::empty())?;
        Ok(files)
    }

    /// The permission to read, or `None` where too many do.
    pub(super) fn start_load(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.loads).try_acquire_owned().ok()
    }

    /// Answers a GET of a file. This waits for the disk.
    pub(super) fn load(&self, request: &Request) -> Response {
        let path: Vec<_> = request.segments().skip(1).collect();
        let path = path.join("/");
        let Ok(payload) = self.read(&path) else { return not_found() };
        let format = format_of(&path);
        if request.accepts().is_some_and(|wanted| Some(wanted) != format) {
            return Response::new(Code::NOT_ACCEPTABLE);
        }
        let etag = ETag::of(format, &payload);
        if let Some(response) = request.still_valid(etag) {
            return response;
        }
        let response = Response::new(Code::CONTENT).etag(etag).payload(payload);
        format.into_iter().fold(response, Response::content_format)
    }

    /// Links to the files, in the order of their paths. This waits for the disk.
    pub(super) fn list(&self) -> Vec<Link> {
        let mut files = Vec::new();
        let mut folders = vec![String::new()];
        let mut left = MAX_ENTRIES;
        while let Some(folder) = folders.pop() {
            // A folder that is gone or closed to us has nothing to show.
            let Ok(entries) = self.root.join(&folder).read_dir() else { continue };
            for entry in entries.flatten().take(left) {
                left -= 1;
                let name = entry.file_name();
                let (Some(name), Ok(meta)) = (name.to_str(), entry.metadata()) else { continue };
                if check_segment(name.as_bytes()).is_err() {
                    continue;
                }
                let path = if folder.is_empty() { name.into() } else { format!("{folder}/{name}") };
                if meta.is_dir() {
                    folders.push(path);
                } else if meta.is_file() && meta.len() <= MAX_FILE {
                    files.push((path, meta.len()));
                }
            }
        }
        files.sort_unstable();
        files.iter().take(MAX_LISTED).filter_map(|(path, size)| link(path, *size)).collect()
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let root = open(&self.root, FOLDER, Mode::empty())?;
        // Opening a pipe would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let below = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let file = File::from(openat2(root, path, flags, Mode::empty(), below)?);
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut content = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut content)?;
        if content.len() as u64 > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(content)
    }
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

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
