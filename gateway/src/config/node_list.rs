//! Lists of nodes: a file with a name and an address on each line.
//!
//! ```text
//! # name   address
//! boiler   coap://192.0.2.7
//! roof     coap://roof.lan:5684
//! ```
//!
//! An empty line and one that starts with `#` mean nothing. A name is 1 to 256 bytes without white
//! space and control characters, and stands for one node.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::files::Finder;
use super::findings::Findings;
use super::layer::{Aim, Layers};
use super::model::{Config, Link, ListedNode};
use super::report::{Place, Problem, reason};
use super::source_file::SourceFile;
use super::tree::KeyPath;
use super::values::NodeUrl;

/// The longest list.
const MAX_BYTES: u64 = 4 << 20;
/// The longest name, as of every device.
const MAX_NAME: usize = 256;
/// Mistakes of one list that are told.
const MAX_TOLD: usize = 10;

/// Why a list cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeListError {
    #[error("cannot read the list of nodes {0}: {1}")]
    Read(String, String),
    #[error("the list of nodes {0} is longer than 4 MiB")]
    TooLong(String),
    #[error("the list of nodes {0} is not UTF-8 text")]
    NotText(String),
    #[error("{0}:{1}: {2}")]
    Line(String, usize, String),
}

/// What is wrong with a line.
struct Fault {
    span: Range<usize>,
    title: String,
    /// What was expected; after a line feed, what to do.
    expected: String,
}

/// Reads the list of each source that has one.
pub(super) fn read_all(
    config: &mut Config,
    finder: &Finder<'_>,
    layers: &Layers,
    findings: &mut Findings,
) {
    for (id, source) in &mut config.sources {
        let Link::CoapPoll(link) = &mut source.link else { continue };
        let path = KeyPath::of(["sources", id.as_str(), "link", "node_list"]);
        let Some(file) = link.node_list.as_mut().filter(|_| !findings.failed(&path)) else {
            continue;
        };
        let place = layers.place(&path, Aim::Value);
        file.set_path(finder.find(file.written(), &place));
        let text = match read(file.path()) {
            Ok(text) => text,
            Err(error) => {
                let problem = Problem::new(error.to_string(), place);
                findings.fail(path, finder.explain(file.written(), problem));
                continue;
            }
        };
        let taken: BTreeSet<&str> = link.nodes.keys().map(|name| name.as_str()).collect();
        let (nodes, faults) = parse(&text, &taken);
        link.listed = nodes;
        let name = file.path().display().to_string();
        let listed = Arc::new(SourceFile::new(name, text, Vec::new()));
        for fault in faults.into_iter().take(MAX_TOLD) {
            let place = Place::Span {
                layer: layers.next_position(),
                file: Arc::clone(&listed),
                span: fault.span,
                context: None,
                cut: false,
            };
            findings.add(Problem::new(fault.title, place).expected(fault.expected));
        }
    }
}

/// Reads a list again; `taken` are names that are used already.
///
/// # Errors
///
/// The first thing that is wrong with it.
pub(crate) fn reread(
    path: &Path,
    taken: &BTreeSet<&str>,
) -> Result<Vec<ListedNode>, NodeListError> {
    let text = read(path)?;
    let (nodes, faults) = parse(&text, taken);
    match faults.into_iter().next() {
        None => Ok(nodes),
        Some(fault) => {
            let line = text.get(..fault.span.start).unwrap_or_default().matches('\n').count() + 1;
            let why = format!("{}, {}", fault.title, fault.expected.replace('\n', "; "));
            Err(NodeListError::Line(path.display().to_string(), line, why))
        }
    }
}

fn read(path: &Path) -> Result<String, NodeListError> {
    let name = || path.display().to_string();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| NodeListError::Read(name(), reason(&error)))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(NodeListError::TooLong(name()));
    }
    String::from_utf8(bytes).map_err(|_| NodeListError::NotText(name()))
}

/// The nodes of a list, and what is wrong with the other lines.
fn parse(text: &str, taken: &BTreeSet<&str>) -> (Vec<ListedNode>, Vec<Fault>) {
    let (mut nodes, mut faults) = (Vec::new(), Vec::new());
    let mut names = BTreeSet::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let span = start..start + line.trim_end().len();
        start += line.len();
        let words: Vec<&str> = line.split_whitespace().collect();
        let fault = |title: String, expected: String| Fault { span: span.clone(), title, expected };
        match words.as_slice() {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            [name, _] if name.len() > MAX_NAME || name.contains(char::is_control) => {
                let expected = "expected a name of 1 to 256 bytes without control characters";
                faults.push(fault("invalid name of a node".to_owned(), expected.to_owned()));
            }
            [name, _] if taken.contains(name) || !names.insert(*name) => {
                let expected = "expected each name once, also among `nodes`".to_owned();
                faults.push(fault(format!("the node `{name}` is there twice"), expected));
            }
            [name, url] => match url.parse::<NodeUrl>() {
                Ok(url) => nodes.push(ListedNode { name: (*name).to_owned(), url }),
                Err(error) => {
                    faults.push(fault(format!("invalid address of `{name}`"), error.to_string()));
                }
            },
            _ => {
                let expected = "expected a name and an address, such as `boiler coap://192.0.2.7`";
                faults.push(fault("this line is no node".to_owned(), expected.to_owned()));
            }
        }
    }
    (nodes, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_and_an_address() {
        let text = "# nodes\n\nth-1 coap://192.0.2.1\n  TH.2\tcoap://[::1]:1\r\n";
        let (nodes, faults) = parse(text, &BTreeSet::new());
        assert!(faults.is_empty());
        let nodes: Vec<_> = nodes.iter().map(|n| (&*n.name, n.url.to_string())).collect();
        let expected = [("th-1", "coap://192.0.2.1:5683"), ("TH.2", "coap://[::1]:1")];
        assert_eq!(nodes, expected.map(|(name, url)| (name, url.to_owned())));
    }

    #[test]
    fn each_line_that_is_no_node_is_told() {
        let text = "a coap://h\nb\na coap://g\nc h\nboiler coap://h\n";
        let (nodes, faults) = parse(text, &BTreeSet::from(["boiler"]));
        assert_eq!(nodes.len(), 1);
        let told: Vec<_> = faults.iter().map(|f| (f.span.start, &*f.title)).collect();
        assert_eq!(
            told,
            [
                (11, "this line is no node"),
                (13, "the node `a` is there twice"),
                (24, "invalid address of `c`"),
                (28, "the node `boiler` is there twice"),
            ]
        );
    }
}
