//! The control socket: a running gateway answers, and does what it is told.
//!
//! A Unix socket in the state directory, for the same user only. A client sends one line of JSON, a
//! [`Request`]. The answer is lines of JSON, as many as there are; the last one says whether that
//! was all. A connection takes one request.
//!
//! A client may read as slowly as it likes: an answer is read from the store piece by piece, the
//! next piece when the last one is handed over. It holds one of [`MAX_STREAMS`] places meanwhile,
//! and loses it when it takes nothing for [`STALL`].

mod brokers;
mod client;
mod commands;
mod devices;
mod request;

pub(crate) use client::{AskError, ask};
pub(crate) use commands::SendRequest;
pub(crate) use request::{Forgotten, LetterChoice, Request};

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use request::{End, Last};

use crate::causes::chain;
use crate::pipeline::export_line;
use crate::status::Status;
use crate::store::{Examiner, Selection, StoreError};
use crate::supervisor::Supervisor;

/// Name of the socket in the state directory.
pub(crate) const SOCKET: &str = "control.sock";
/// The longest request: that of a command with the longest value.
const MAX_REQUEST: u64 = 512 * 1024;
/// Most clients at a time; others wait to be accepted.
const MAX_CLIENTS: usize = 16;
/// Most of them that read the store; others are told to come again.
const MAX_STREAMS: usize = 4;
/// Dead letters that are read at a time.
const LETTERS: usize = 256;
/// Bytes of an answer that are gathered before they are written.
const WRITE_BYTES: usize = 64 * 1024;
/// The pause after a client could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A client that takes longer for its request, or takes nothing of a short answer, is left alone.
const PATIENCE: Duration = Duration::from_secs(5);
/// So is one that takes nothing of a long answer for so long; somebody may be reading it.
const STALL: Duration = Duration::from_secs(600);

/// Answers clients.
pub(crate) async fn serve(path: PathBuf, status: Arc<Status>) {
    let listener = match listen(&path) {
        Ok(listener) => listener,
        Err(error) => {
            warn!(
                path = %path.display(), %error,
                "no control socket: `gateway status` and `gateway store` will not work"
            );
            return;
        }
    };
    let streams = Arc::new(Semaphore::new(MAX_STREAMS));
    let mut clients = Supervisor::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if clients.len() < MAX_CLIENTS => match accepted {
                Ok((stream, _)) => {
                    let (status, streams) = (Arc::clone(&status), Arc::clone(&streams));
                    clients.start("control client".to_owned(), async move {
                        if let Err(error) = answer(stream, &status, &streams).await {
                            debug!(%error, "control client");
                        }
                    });
                }
                Err(error) => {
                    debug!(%error, "control socket");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = clients.next_end(), if !clients.is_empty() => {}
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    // The state directory is locked, so a socket in it is one that a killed gateway left behind.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn answer(stream: UnixStream, status: &Status, streams: &Semaphore) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(MAX_REQUEST));
    let read = timeout(PATIENCE, reader.read_line(&mut line)).await;
    read.map_err(|_| io::ErrorKind::TimedOut)??;
    let mut answer = Answer { writer, lines: Vec::new(), patience: PATIENCE };
    let end = match serde_json::from_str(&line) {
        Ok(Request::Status) => {
            let mut report = status.report();
            for (name, broker) in &mut report.brokers {
                broker.oldest_seconds = brokers::oldest_seconds(status, name).await;
            }
            answer.line(&report)?;
            End::Complete
        }
        Ok(Request::Devices) => ended(devices::list(&mut answer, status).await)?,
        Ok(Request::Forget { broker }) => forget(&mut answer, status, &broker).await?,
        Ok(Request::StoreVerify) => streamed(streams, verify(&mut answer, status)).await?,
        Ok(Request::StoreExport(selection)) => {
            streamed(streams, export(&mut answer, status, &selection)).await?
        }
        Ok(Request::Send(request)) => {
            let sent = commands::send(&mut answer, status, &request);
            let Some(end) = while_there(&mut reader, sent).await? else { return Ok(()) };
            end
        }
        Ok(Request::Cancel { device, id }) => {
            let cancelled = commands::cancel(&mut answer, status, &device, &id);
            let Some(end) = while_there(&mut reader, cancelled).await? else { return Ok(()) };
            end
        }
        Ok(Request::Commands { device, limit }) => {
            let listed = commands::list(&mut answer, status, device.as_deref(), limit);
            let Some(end) = while_there(&mut reader, listed).await? else { return Ok(()) };
            end
        }
        Ok(request) => tokio::select! {
            end = streamed(streams, ask_brokers(&mut answer, status, &request)) => end?,
            () = brokers::until_gone(&mut reader) => return Ok(()),
        },
        Err(error) => End::Failed(format!("not a request that this gateway knows: {error}")),
    };
    answer.line(&Last { end })?;
    answer.send().await
}

/// Does something for as long as the client is there; `None` if it was gone before.
async fn while_there(
    reader: &mut (impl AsyncRead + Unpin),
    answer: impl Future<Output = Result<End, AnswerError>>,
) -> io::Result<Option<End>> {
    tokio::select! {
        end = answer => ended(end).map(Some),
        () = brokers::until_gone(reader) => Ok(None),
    }
}

/// Does what takes as long as a broker takes, and ends with the client.
async fn ask_brokers(
    answer: &mut Answer,
    status: &Status,
    request: &Request,
) -> Result<End, AnswerError> {
    match request {
        Request::Replay { broker, from_ns, to_ns } => {
            brokers::replay(answer, status, broker, (*from_ns, *to_ns)).await
        }
        Request::Letters(choice) => brokers::list(answer, status, choice).await,
        Request::LettersResend(choice) => brokers::resend(answer, status, choice).await,
        Request::LettersDrop(choice) => brokers::drop_letters(answer, status, choice).await,
        Request::Wire { broker } => brokers::wire(answer, status, broker).await,
        Request::Status
        | Request::Devices
        | Request::Send(_)
        | Request::Cancel { .. }
        | Request::Commands { .. }
        | Request::Forget { .. }
        | Request::StoreVerify
        | Request::StoreExport(_) => Ok(End::Complete),
    }
}

async fn forget(answer: &mut Answer, status: &Status, broker: &str) -> io::Result<End> {
    match status.spool.forget(broker).await {
        Ok(forgotten) => {
            answer.line(&Forgotten { forgotten })?;
            Ok(End::Complete)
        }
        Err(error) => Ok(End::Failed(chain(&error))),
    }
}

/// Runs what reads the store, if there is a place for it.
async fn streamed(
    streams: &Semaphore,
    answer: impl Future<Output = Result<End, AnswerError>>,
) -> io::Result<End> {
    let Ok(_place) = streams.try_acquire() else {
        let reason = format!("{MAX_STREAMS} others read the store already; try again later");
        return Ok(End::Failed(reason));
    };
    ended(answer.await)
}

/// How an answer ends that could not be given: the client is told what is not its own fault.
fn ended(answer: Result<End, AnswerError>) -> io::Result<End> {
    match answer {
        Ok(end) => Ok(end),
        Err(AnswerError::Store(error)) => Ok(End::Failed(chain(&error))),
        Err(AnswerError::Client(error)) => Err(error),
    }
}

async fn verify(answer: &mut Answer, status: &Status) -> Result<End, AnswerError> {
    let spool = &status.spool;
    let end = spool.status().next;
    let mut examiner = Examiner::new(end, &spool.cursors());
    let mut from = 1;
    while from < end {
        let chunks = spool.read(from).await?;
        let Some(last) = chunks.last() else { break };
        from = last.end;
        chunks.iter().for_each(|chunk| examiner.handle_chunk(chunk));
    }
    let mut after = Some(0);
    while let Some(id) = after {
        let page = spool.dead(id, LETTERS).await?;
        examiner.handle_letters(&page);
        after = page.next_after;
    }
    answer.line(&examiner.finish())?;
    Ok(End::Complete)
}

async fn export(
    answer: &mut Answer,
    status: &Status,
    selection: &Selection,
) -> Result<End, AnswerError> {
    answer.patience = STALL;
    let spool = &status.spool;
    let choice = match selection.choice(&spool.cursors()) {
        Ok(choice) => choice,
        Err(error) => return Ok(End::Failed(error.to_string())),
    };
    // What comes in meanwhile is not waited for.
    let end = spool.status().next;
    let mut from = choice.first();
    while from < end {
        let chunks = spool.read(from).await?;
        let Some(last) = chunks.last() else { break };
        from = last.end;
        for record in chunks.iter().flat_map(|chunk| &chunk.records) {
            if record.n < end && choice.takes(record) {
                answer.lines.extend(export_line(record));
                answer.send_if_much().await?;
            }
        }
    }
    Ok(End::Complete)
}

/// Why an answer was not given.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Client(#[from] io::Error),
}

/// The way back to a client.
struct Answer {
    writer: OwnedWriteHalf,
    lines: Vec<u8>,
    /// How long the client may take nothing.
    patience: Duration,
}

impl Answer {
    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.lines, value)?;
        self.lines.push(b'\n');
        Ok(())
    }

    async fn send_if_much(&mut self) -> io::Result<()> {
        if self.lines.len() >= WRITE_BYTES { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> io::Result<()> {
        let mut rest = &self.lines[..];
        while !rest.is_empty() {
            let written = timeout(self.patience, self.writer.write_buf(&mut rest)).await;
            if written.map_err(|_| io::ErrorKind::TimedOut)?? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        self.lines.clear();
        Ok(())
    }
}
