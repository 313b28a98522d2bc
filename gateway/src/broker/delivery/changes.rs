//! When a broker may have more to get.

use tokio::sync::watch;

use crate::store::{BrokerCursor, StoreError};

/// Tells when there may be more to publish.
pub(in crate::broker) struct Changes {
    pub(super) head: watch::Receiver<u64>,
    pub(super) cursors: (BrokerCursor, Option<BrokerCursor>, Option<BrokerCursor>),
}

impl Changes {
    /// Waits until something is stored, or more of what is acknowledged is saved.
    pub(in crate::broker) async fn next(&mut self) -> Result<(), StoreError> {
        let (ordered, live, windows) = &mut self.cursors;
        let saved = async |cursor: &mut Option<BrokerCursor>| match cursor {
            Some(cursor) => cursor.saved_changed().await,
            None => std::future::pending().await,
        };
        tokio::select! {
            changed = self.head.changed() => changed.map_err(|_| StoreError::Ended),
            () = ordered.saved_changed() => Ok(()),
            () = saved(live) => Ok(()),
            () = saved(windows) => Ok(()),
        }
    }
}
