//! The end of what a process writes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Bytes that are kept.
const MAX_TAIL: usize = 8 << 10;
/// Lines that are shown.
const MAX_LINES: usize = 20;
/// How long the end is waited for, should somebody else hold the other side open.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads everything and keeps the end.
#[derive(Debug, Default)]
pub(super) struct Tail {
    kept: Arc<Mutex<VecDeque<u8>>>,
    readers: JoinSet<()>,
}

impl Tail {
    /// Reads from `log` too.
    pub(super) fn follow(&mut self, mut log: impl AsyncRead + Send + Unpin + 'static) {
        while self.readers.try_join_next().is_some() {}
        let kept = Arc::clone(&self.kept);
        self.readers.spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(len) = log.read(&mut buffer).await {
                if len == 0 {
                    return;
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(buffer.get(..len).unwrap_or_default());
                let excess = kept.len().saturating_sub(MAX_TAIL);
                kept.drain(..excess);
            }
        });
    }

    /// Waits until all is read.
    pub(super) async fn end(&mut self) {
        let read = async { while self.readers.join_next().await.is_some() {} };
        if timeout(PATIENCE, read).await.is_err() {
            tracing::debug!("the log has no end");
        }
    }

    /// The last lines.
    pub(super) fn text(&self) -> String {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(kept.make_contiguous()).into_owned();
        let lines: Vec<_> = text.lines().collect();
        let first = lines.len().saturating_sub(MAX_LINES);
        lines.get(first..).unwrap_or_default().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_lines_of_much_are_kept() {
        let mut tail = Tail::default();
        let much: String = (0..100_000).map(|number| format!("line {number}\n")).collect();
        tail.follow(std::io::Cursor::new(much.into_bytes()));
        tail.end().await;
        let text = tail.text();
        assert_eq!(text.lines().count(), MAX_LINES);
        assert!(text.ends_with("line 99998\nline 99999"), "{text}");
        tail.follow(&b"and more"[..]);
        tail.end().await;
        assert!(tail.text().ends_with("line 99999\nand more"));
    }
}
