//! What is known of the nodes over a restart: the highest epoch of each, and which of its reports
//! are durable.
//!
//! Each report is stored with what identifies it, and a file has what was stored up to some record:
//!
//! ```text
//! gateway link nodes 1
//! next 4711                   the first record that is not taken into account
//! 42 3 17 000000000000001f    device, epoch, highest number, window
//! crc 1c291ca3                of all before
//! ```
//! So a report that is stored is known after any end of the process: from the file, or from the
//! records behind it, which the store keeps for [`KEEP`](crate::store::KEEP) at least while it has
//! room, and which the file catches up with more often. A file that is damaged is left out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use proto::link::Replay;
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::config::Id;
use crate::store::{Origin, Spool, StoreError};

/// The first line of a file.
const TITLE: &str = "gateway link nodes 1";

/// What is known of the nodes of a source.
pub(super) struct Memory {
    path: PathBuf,
    source: String,
    known: Known,
    /// What the file has.
    saved: Option<Known>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Known {
    /// The first record that is not taken into account.
    next: u64,
    nodes: BTreeMap<u32, Replay>,
}

impl Memory {
    /// What the file has, if there is one.
    pub(super) fn load(state_dir: &Path, source: &Id) -> Self {
        let path = state_dir.join(format!("link-{source}.nodes"));
        let known = match fs::read_to_string(&path) {
            Ok(text) => Known::parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Known::default()),
            Err(error) => Err(error),
        };
        let known = known.unwrap_or_else(|error: io::Error| {
            warn!(%source, path = %path.display(), %error, "cannot read what was known of the nodes; the store is searched for it");
            Known::default()
        });
        Self { path, source: source.to_string(), known, saved: None }
    }

    /// Every node.
    pub(super) fn replays(&self) -> impl Iterator<Item = (u32, Replay)> {
        self.known.nodes.iter().map(|(&device, &replay)| (device, replay))
    }

    /// Takes into account what was stored since the last time.
    pub(super) async fn catch_up(&mut self, spool: &Spool) -> Result<(), StoreError> {
        loop {
            let chunks = spool.read(self.known.next).await?;
            let Some(last) = chunks.last() else { return Ok(()) };
            self.known.next = last.end;
            for record in chunks.iter().flat_map(|chunk| &chunk.records) {
                if let Some(Origin::Link(ticket)) = &record.origin
                    && *record.source == *self.source
                {
                    let node = self.known.nodes.entry(ticket.device);
                    node.or_insert(Replay::new(ticket.epoch)).add(ticket.epoch, ticket.sequence);
                }
            }
        }
    }

    /// Adds what the gateway's end knows, and forgets the nodes that it has forgotten: its limit is
    /// the limit here.
    pub(super) fn follow(&mut self, nodes: &BTreeMap<u32, Replay>) {
        self.known.nodes.retain(|device, _| nodes.contains_key(device));
        for (&device, &replay) in nodes {
            let node = self.known.nodes.entry(device).or_insert(Replay::new(replay.epoch));
            node.merge(replay);
        }
    }

    /// Writes the file, unless it has all of it.
    pub(super) async fn save(&mut self) -> io::Result<()> {
        let is_changed = self.saved.as_ref().is_none_or(|saved| saved.nodes != self.known.nodes);
        if !is_changed {
            return Ok(());
        }
        let (path, text) = (self.path.clone(), self.known.text());
        let known = self.known.clone();
        spawn_blocking(move || replace(&path, &text)).await.map_err(io::Error::other)??;
        self.saved = Some(known);
        Ok(())
    }
}

impl Known {
    fn text(&self) -> String {
        let mut text = format!("{TITLE}\nnext {}\n", self.next);
        for (device, Replay { epoch, highest, window }) in &self.nodes {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{device} {epoch} {highest} {window:016x}");
        }
        let crc = crc32fast::hash(text.as_bytes());
        let _ = writeln!(text, "crc {crc:08x}");
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let (body, crc) = text.strip_suffix('\n')?.rsplit_once("crc ")?;
        if u32::from_str_radix(crc, 16).ok()? != crc32fast::hash(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines();
        lines.next().filter(|title| *title == TITLE)?;
        let next = lines.next()?.strip_prefix("next ")?.parse().ok()?;
        let nodes: Option<_> = lines.map(parse_node).collect();
        Some(Self { next, nodes: nodes? })
    }
}

fn parse_node(line: &str) -> Option<(u32, Replay)> {
    let mut words = line.split(' ');
    let device = words.next()?.parse().ok()?;
    let (epoch, highest) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let window = u64::from_str_radix(words.next()?, 16).ok()?;
    Some((device, Replay { epoch, highest, window }))
}

/// Writes a file in one step: after a power cut it is the old one or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_the_gateway_has_forgotten_is_forgotten() {
        let nodes = BTreeMap::from([(1, Replay::new(3)), (2, Replay::new(3))]);
        let known = Known { next: 1, nodes };
        let (path, source) = (PathBuf::new(), String::new());
        let mut memory = Memory { path, source, known, saved: None };
        let newer = Replay { epoch: 3, highest: 9, window: 1 };
        memory.follow(&BTreeMap::from([(2, newer), (4, Replay::new(1))]));
        assert!(memory.replays().eq([(2, newer), (4, Replay::new(1))]));
    }

    #[test]
    fn a_file_reads_back_and_a_damaged_one_is_refused() {
        let replay = Replay { epoch: 3, highest: 17, window: 0x1f };
        let known =
            Known { next: 4711, nodes: BTreeMap::from([(42, replay), (7, Replay::new(1))]) };
        let text = known.text();
        assert_eq!(Known::parse(&text), Some(known));
        for at in 0..text.len() {
            let damaged: String = text
                .char_indices()
                .map(|(index, char)| if index == at { '~' } else { char })
                .collect();
            assert_eq!(Known::parse(&damaged), None, "{damaged}");
            assert_eq!(Known::parse(&text[..at]), None);
        }
    }
}
