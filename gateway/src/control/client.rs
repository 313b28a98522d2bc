//! Asks a running gateway.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::request::{End, Last};
use super::{Request, SOCKET};

/// A gateway that says nothing for so long does not answer. The storage thread may be saving what
/// can be read of a damaged store.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for what needs no disk.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);

/// What takes as long as a broker takes.
const ANY_PATIENCE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("the gateway does not answer")]
    Silent(#[source] io::Error),
    #[error("the gateway broke off its answer; see its log")]
    BrokenOff,
    #[error("the gateway cannot do it: {0}")]
    Failed(String),
    /// It is not the gateway that failed: whoever takes the lines wants no more.
    #[error("the answer was not taken")]
    NotTaken,
}

impl From<io::Error> for AskError {
    fn from(error: io::Error) -> Self {
        Self::Silent(error)
    }
}

/// Sends a request to the gateway that uses `state_dir` and hands on each line of the answer, with
/// its line end, for as long as `take` says yes.
pub(crate) async fn ask(
    state_dir: &Path,
    request: &Request,
    mut take: impl FnMut(&str) -> bool,
) -> Result<(), AskError> {
    let patience = match request {
        Request::Status | Request::Devices => SHORT_PATIENCE,
        Request::Forget { .. }
        | Request::StoreVerify
        | Request::StoreExport(_)
        | Request::Letters(_)
        | Request::LettersDrop(_)
        | Request::Cancel { .. }
        | Request::Commands { .. } => PATIENCE,
        Request::Send(_)
        | Request::Replay { .. }
        | Request::LettersResend(_)
        | Request::Wire { .. } => ANY_PATIENCE,
    };
    let silent = |_| io::Error::from(io::ErrorKind::TimedOut);
    let connect = UnixStream::connect(state_dir.join(SOCKET));
    let mut stream = timeout(patience, connect).await.map_err(silent)??;
    let mut line = serde_json::to_string(request).map_err(io::Error::from)?;
    line.push('\n');
    timeout(patience, stream.write_all(line.as_bytes())).await.map_err(silent)??;
    let mut reader = BufReader::new(stream);
    loop {
        line.clear();
        if timeout(patience, reader.read_line(&mut line)).await.map_err(silent)?? == 0 {
            return Err(AskError::BrokenOff);
        }
        if line.starts_with(r#"{"end":"#) {
            return match serde_json::from_str(&line) {
                Ok(Last { end: End::Complete }) => Ok(()),
                Ok(Last { end: End::Failed(reason) }) => Err(AskError::Failed(reason)),
                Err(_) => Err(AskError::BrokenOff),
            };
        }
        if !take(&line) {
            return Err(AskError::NotTaken);
        }
    }
}
