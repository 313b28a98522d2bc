//! A list of nodes in a file that may change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proto::Instant;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep_until;
use tracing::warn;

use crate::clock;
use crate::config::{Id, ListedNode, NamedFile, NodeListError, reread_node_list};

/// How often the file is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// When the file was changed, and its length; `None` where there is no file.
type Stamp = Option<(SystemTime, u64)>;
type Look = (Stamp, Option<Result<Vec<ListedNode>, NodeListError>>);

/// A list that is watched.
pub(super) struct NodeList {
    path: PathBuf,
    /// Nodes that the configuration names itself.
    configured: BTreeSet<String>,
    /// The file as it was looked at last.
    seen: Option<Stamp>,
    look_at: Instant,
    looking: Option<JoinHandle<Look>>,
}

impl NodeList {
    /// The list in `file`, beside nodes that the configuration names.
    pub(super) fn new<'a>(file: &NamedFile, configured: impl Iterator<Item = &'a Id>) -> Self {
        let configured = configured.map(ToString::to_string).collect();
        let (path, look_at) = (file.path().to_owned(), clock::now() + LOOK_AGAIN);
        Self { path, configured, seen: None, look_at, looking: None }
    }

    /// Whether the configuration names a node itself.
    pub(super) fn is_configured(&self, name: &str) -> bool {
        self.configured.contains(name)
    }

    /// Waits until the file is another one that can be read, and reads it; for ever where there is
    /// none. While it cannot be read, the nodes of the last one stay.
    pub(super) async fn changed(list: &mut Option<Self>) -> Vec<ListedNode> {
        let Some(list) = list else { return std::future::pending().await };
        loop {
            if list.looking.is_none() {
                sleep_until(clock::deadline(list.look_at)).await;
            }
            // Whoever waits may be called away in between: what was begun is not begun again.
            let looking = match &mut list.looking {
                Some(looking) => looking,
                None => {
                    let (path, names) = (list.path.clone(), list.configured.clone());
                    let seen = list.seen;
                    list.looking.insert(spawn_blocking(move || look(&path, &names, seen)))
                }
            };
            let looked = looking.await;
            list.looking = None;
            list.look_at = clock::now() + LOOK_AGAIN;
            let Ok((stamp, read)) = looked else { continue };
            list.seen = Some(stamp);
            match read {
                Some(Ok(listed)) => return listed,
                Some(Err(error)) => warn!(%error, "the list of nodes stays as it was"),
                None => {}
            }
        }
    }
}

/// Reads the list, unless it is the one that was `seen`.
fn look(path: &Path, configured: &BTreeSet<String>, seen: Option<Stamp>) -> Look {
    let stamp = std::fs::metadata(path).and_then(|file| Ok((file.modified()?, file.len()))).ok();
    let names = configured.iter().map(String::as_str).collect();
    (stamp, (seen != Some(stamp)).then(|| reread_node_list(path, &names)))
}
