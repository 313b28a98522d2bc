//! The control socket: a running gateway tells where it stands, and does what it is told.
//!
//! A Unix socket in the state directory, for the same user only. A client sends one line with a
//! command, the gateway answers with one line of JSON and closes.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::config::Id;
use crate::status::Status;

/// Name of the socket in the state directory.
pub(crate) const SOCKET: &str = "control.sock";
/// The command that asks for the status.
const STATUS: &str = "status";
/// The command that forgets a broker, whose name follows.
const FORGET: &str = "forget ";
/// The longest command.
const MAX_COMMAND: u64 = 1024;
/// The pause after a client could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A client that takes longer is left alone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers clients, one at a time.
pub(crate) async fn serve(path: PathBuf, status: Arc<Status>) {
    let listener = match listen(&path) {
        Ok(listener) => listener,
        Err(error) => {
            warn!(path = %path.display(), %error, "no control socket: `gateway status` will not work");
            return;
        }
    };
    loop {
        let answered = match listener.accept().await {
            Ok((stream, _)) => timeout(PATIENCE, answer(stream, &status)).await,
            Err(error) => {
                sleep(ACCEPT_PAUSE).await;
                Ok(Err(error))
            }
        };
        if let Ok(Err(error)) = answered {
            debug!(%error, "control client");
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

async fn answer(mut stream: UnixStream, status: &Status) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut command = String::new();
    BufReader::new(reader.take(MAX_COMMAND)).read_line(&mut command).await?;
    let mut answer = match command.trim_end() {
        STATUS => serde_json::to_string(&status.report())?,
        command => match command.strip_prefix(FORGET) {
            Some(broker) => forget(status, broker).await.to_string(),
            None => {
                r#"{"error":"unknown command, expected `status` or `forget BROKER`"}"#.to_owned()
            }
        },
    };
    answer.push('\n');
    writer.write_all(answer.as_bytes()).await
}

async fn forget(status: &Status, broker: &str) -> Value {
    match status.spool.forget(broker).await {
        Ok(forgotten) => json!({ "forgotten": forgotten }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

/// Asks the gateway that uses `state_dir` for its status.
pub(crate) async fn ask_status(state_dir: &Path) -> io::Result<Value> {
    ask(state_dir, STATUS).await
}

/// Tells the gateway that uses `state_dir` to forget a broker: `forgotten` is whether it knew it as
/// one that is not configured, `error` why it could not.
pub(crate) async fn ask_to_forget(state_dir: &Path, broker: &Id) -> io::Result<Value> {
    ask(state_dir, &format!("{FORGET}{broker}")).await
}

async fn ask(state_dir: &Path, command: &str) -> io::Result<Value> {
    let ask = async {
        let mut stream = UnixStream::connect(state_dir.join(SOCKET)).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(serde_json::from_slice(&answer)?)
    };
    timeout(PATIENCE, ask).await.map_err(|_| io::ErrorKind::TimedOut)?
}
