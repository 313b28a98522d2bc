use std::os::unix::fs::symlink;
use std::sync::atomic::AtomicBool;
use std::thread;

use proto::coap::Method;

use super::*;
use crate::config::ByteSize;
use crate::store::tests::Folder;

const PLENTY: config::Uploads =
    config::Uploads { max_bytes: ByteSize::mib(4), max_files: 100, delete: true };

fn files(folder: &Folder, limits: config::Uploads) -> Files {
    Files::open(&folder.0, Some(&limits)).unwrap()
}

fn request(method: Method, path: &str) -> Request {
    Request::new(method).path("files").path(path)
}

fn put(path: &str, content: impl Into<Vec<u8>>) -> Request {
    request(Method::Put, path).payload(content)
}

/// The code of the answer.
#[track_caller]
fn code(files: &Files, request: &Request) -> Code {
    files.serve(request).unwrap_or_else(|error| error.response()).code
}

/// What is in the folder itself, temporary files as well.
fn names(folder: &Folder) -> Vec<String> {
    let entries = folder.0.read_dir().unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_made_replaced_read_and_deleted() {
    // RFC 7252 §5.8.3, §5.8.4
    let folder = Folder::new();
    let files = files(&folder, PLENTY);
    let made = files.serve(&put("a.bin", *b"one")).unwrap();
    assert_eq!(made.code, Code::CREATED);
    let got = files.serve(&request(Method::Get, "a.bin")).unwrap();
    assert_eq!((got.code, got.payload.as_slice()), (Code::CONTENT, &b"one"[..]));
    assert_eq!(made.options.etag(), got.options.etag(), "the ETag is that of the new content");
    assert_eq!(code(&files, &put("a.bin", *b"two")), Code::CHANGED);
    assert_eq!(fs::read(folder.0.join("a.bin")).unwrap(), b"two");
    assert_eq!(names(&folder), ["a.bin"], "nothing temporary stays");
    for _ in 0..2 {
        assert_eq!(code(&files, &request(Method::Delete, "a.bin")), Code::DELETED);
        assert!(names(&folder).is_empty());
    }
}

#[test]
fn conditions_are_those_of_the_file_that_is_there() {
    // RFC 7252 §5.10.8
    let folder = Folder::new();
    let files = files(&folder, PLENTY);
    let if_absent = |content| put("a", content).option(OptionNumber::IF_NONE_MATCH, b"");
    let if_there = |content| put("a", content).option(OptionNumber::IF_MATCH, b"");
    assert_eq!(code(&files, &if_there(*b"0")), Code::PRECONDITION_FAILED);
    let made = files.serve(&if_absent(*b"1")).unwrap();
    assert_eq!(made.code, Code::CREATED);
    assert_eq!(code(&files, &if_absent(*b"2")), Code::PRECONDITION_FAILED);
    assert_eq!(code(&files, &if_there(*b"3")), Code::CHANGED);
    let first = made.options.etag().unwrap();
    for method in [Method::Put, Method::Delete, Method::Get] {
        let stale = request(method, "a").option(OptionNumber::IF_MATCH, &first);
        assert_eq!(code(&files, &stale), Code::PRECONDITION_FAILED, "{method:?}");
    }
    assert_eq!(fs::read(folder.0.join("a")).unwrap(), b"3");
    let now = files.serve(&request(Method::Get, "a")).unwrap().options.etag().unwrap();
    let delete = request(Method::Delete, "a").option(OptionNumber::IF_MATCH, &now);
    assert_eq!(code(&files, &delete), Code::DELETED);
    assert_eq!(names(&folder).len(), 0);
}

#[test]
fn no_upload_leads_out_of_the_folder_or_through_a_link() {
    let (folder, outside) = (Folder::new(), Folder::new());
    fs::write(outside.0.join("secret"), b"old").unwrap();
    fs::create_dir(folder.0.join("in")).unwrap();
    symlink(&outside.0, folder.0.join("up")).unwrap();
    symlink("in", folder.0.join("within")).unwrap();
    symlink(outside.0.join("secret"), folder.0.join("link")).unwrap();
    let files = files(&folder, PLENTY);
    for (path, answer) in [
        ("in/a", Code::CREATED),
        ("up/secret", Code::NOT_FOUND),
        ("within/a", Code::NOT_FOUND),
        ("none/a", Code::NOT_FOUND),
        ("in/a/b", Code::NOT_FOUND),
        ("link", Code::FORBIDDEN),
        ("in", Code::FORBIDDEN),
        (".hidden", Code::FORBIDDEN),
        (".upload-1-1", Code::FORBIDDEN),
        ("in/", Code::FORBIDDEN),
        ("a\nb", Code::FORBIDDEN),
    ] {
        assert_eq!(code(&files, &put(path, *b"new")), answer, "{path:?}");
    }
    // What the endpoint refuses before: once more where the path is made.
    for segment in [&b".."[..], b"../secret", b"/etc/passwd", b"\0"] {
        let request = put("in", *b"new").option(OptionNumber::URI_PATH, segment);
        assert_eq!(code(&files, &request), Code::FORBIDDEN, "{segment:?}");
    }
    assert_eq!(fs::read(outside.0.join("secret")).unwrap(), b"old");
    assert_eq!(outside.0.read_dir().unwrap().count(), 1);
    assert_eq!(names(&folder), ["in", "link", "up", "within"]);
}

#[test]
fn the_name_says_the_format() {
    // RFC 7252 §5.9.2.9
    let folder = Folder::new();
    let files = files(&folder, PLENTY);
    let send = |path, format| code(&files, &put(path, *b"{}").content_format(format));
    assert_eq!(send("a.json", 50), Code::CREATED);
    assert_eq!(send("a.json", 60), Code::UNSUPPORTED_CONTENT_FORMAT);
    assert_eq!(send("a.firmware", 42), Code::CREATED, "an extension that stands for none");
}

#[test]
fn bytes_and_files_have_a_limit_that_counts_what_is_replaced_once() {
    let folder = Folder::new();
    fs::create_dir(folder.0.join("in")).unwrap();
    fs::write(folder.0.join("in/own"), [0; 500]).unwrap();
    let limits = config::Uploads { max_bytes: ByteSize::kib(2), max_files: 3, delete: true };
    let files = files(&folder, limits);
    assert_eq!(code(&files, &put("a", [0; 1000])), Code::CREATED);
    let refused = files.serve(&put("b", [0; 549])).unwrap_err().response();
    assert_eq!(refused.code, Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(refused.options.first_uint(OptionNumber::SIZE1), Some(548));
    assert_eq!(code(&files, &put("b", [0; 548])), Code::CREATED);
    assert_eq!(code(&files, &put("a", [1; 1000])), Code::CHANGED, "in place of itself");
    assert_eq!(code(&files, &put("c", *b"")), Code::FORBIDDEN, "a fourth file");
    assert_eq!(code(&files, &request(Method::Delete, "b")), Code::DELETED);
    assert_eq!(code(&files, &put("c", *b"")), Code::CREATED);
    assert_eq!(names(&folder), ["a", "c", "in"]);
}

#[test]
fn of_uploads_at_once_one_stays_and_every_reader_sees_one_whole() {
    let folder = Folder::new();
    let files = files(&folder, PLENTY);
    let content = |writer: u8| vec![writer; 100_000 + usize::from(writer)];
    let is_whole = |content: &[u8]| {
        let writer = content.first().copied().unwrap_or(0);
        content.len() == 100_000 + usize::from(writer) && content.iter().all(|&b| b == writer)
    };
    files.serve(&put("a", content(1))).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let seen = files.serve(&request(Method::Get, "a")).unwrap();
                assert!(seen.code == Code::CONTENT && is_whole(&seen.payload));
            }
        });
        let write = |writer| {
            for _ in 0..10 {
                files.serve(&put("a", content(writer))).unwrap();
            }
        };
        let writers: Vec<_> = (1..=4).map(|w| scope.spawn(move || write(w))).collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        over.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert!(is_whole(&fs::read(folder.0.join("a")).unwrap()));
    assert_eq!(names(&folder), ["a"]);
    let only_one = put("new", *b"x").option(OptionNumber::IF_NONE_MATCH, b"");
    let made = thread::scope(|scope| {
        let writers: Vec<_> = (0..8).map(|_| scope.spawn(|| code(&files, &only_one))).collect();
        writers
            .into_iter()
            .filter_map(|w| (w.join().unwrap() == Code::CREATED).then_some(()))
            .count()
    });
    assert_eq!(made, 1, "If-None-Match lets one through");
}

#[test]
fn what_a_crash_left_is_neither_shown_nor_kept() {
    let folder = Folder::new();
    let left = folder.0.join(".upload-17-3");
    fs::write(&left, b"half").unwrap();
    let reader = Files::open(&folder.0, None).unwrap();
    assert_eq!(code(&reader, &request(Method::Get, ".upload-17-3")), Code::NOT_FOUND);
    assert!(reader.list().is_empty() && left.exists());
    files(&folder, PLENTY);
    assert!(!left.exists());
}

#[test]
fn who_may_only_read_may_not_write() {
    let folder = Folder::new();
    let allowed = |uploads: Option<config::Uploads>| {
        let files = Files::open(&folder.0, uploads.as_ref()).unwrap();
        [Method::Get, Method::Put, Method::Delete, Method::Post]
            .map(|method| files.check_method(method).is_ok())
    };
    assert_eq!(allowed(None), [true, false, false, false]);
    let keep = config::Uploads { delete: false, ..PLENTY };
    assert_eq!(allowed(Some(keep)), [true, true, false, false]);
    assert_eq!(allowed(Some(PLENTY)), [true, true, true, false]);
}
