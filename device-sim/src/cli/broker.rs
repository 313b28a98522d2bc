//! `device-sim broker`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use device_sim::broker::{Broker, BrokerConfig, Counts, Login, Recording};
use tokio::signal::unix::{SignalKind, signal};

use super::print::{self, Format, Printed};

/// How long the last lines may take to be printed.
const LAST_LINES: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where to listen; port 0 takes a free one, which is shown.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:1883")]
    bind: String,

    /// The user name that every client has to present.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,

    /// A file with that user's password; a line end behind it does not count.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,

    /// Prints every received message: topic, space, payload.
    #[arg(long)]
    print: bool,

    /// Prints every received message as a JSON object in one line.
    #[arg(long, conflicts_with = "print")]
    json: bool,
}

/// Why the broker did not run or did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    #[error("cannot listen on {bind}")]
    Bind { bind: String, source: io::Error },
    #[error("cannot read the password from {}", path.display())]
    Password { path: PathBuf, source: io::Error },
    #[error("cannot print the received messages")]
    Print(#[source] io::Error),
    #[error("cannot wait for signals")]
    Signal(#[source] io::Error),
}

impl BrokerError {
    /// What the user can do about it.
    pub(super) fn hint(&self) -> Option<String> {
        let Self::Bind { source, .. } = self else { return None };
        let kind = source.kind();
        let hint = if kind == io::ErrorKind::AddrInUse {
            "another program listens there, often a Mosquitto that runs as a service; stop it, or \
             take a free port with --bind 127.0.0.1:0"
        } else if kind == io::ErrorKind::PermissionDenied {
            "ports below 1024 need privileges; take a higher one, for instance 1883"
        } else if kind == io::ErrorKind::AddrNotAvailable {
            "this machine does not have that address; 127.0.0.1 is for local clients only, 0.0.0.0 \
             for everybody"
        } else {
            "write it as ADDRESS:PORT, for instance 127.0.0.1:1883"
        };
        Some(hint.to_owned())
    }
}

/// Runs the broker until it is interrupted, or until whoever reads its output has gone.
pub(super) async fn run(options: Options) -> Result<(), BrokerError> {
    let login = login(&options)?;
    let (recording, mut printed) = recording(&options)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(BrokerError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(BrokerError::Signal)?;
    let bind = options.bind;
    let config = BrokerConfig { bind: bind.clone(), login, recording, ..BrokerConfig::default() };
    let broker =
        Broker::start(config).await.map_err(|source| BrokerError::Bind { bind, source })?;
    tell(&format!("listening on {}; end with Ctrl-C", broker.url()));
    let closed = tokio::select! {
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        closed = end_of(&mut printed) => Some(closed),
    };
    let counts = broker.shutdown().await;
    let closed = match closed {
        None if printed.is_some() => {
            tokio::time::timeout(LAST_LINES, end_of(&mut printed)).await.unwrap_or(Ok(()))
        }
        closed => closed.unwrap_or(Ok(())),
    };
    tell(&summary(&counts));
    closed.map_err(BrokerError::Print)
}

fn login(options: &Options) -> Result<Option<Login>, BrokerError> {
    let (Some(user), Some(path)) = (&options.user, &options.password_file) else { return Ok(None) };
    let password = read_password(path)
        .map_err(|source| BrokerError::Password { path: path.clone(), source })?;
    Ok(Some(Login { user: user.clone(), password }))
}

fn read_password(path: &Path) -> io::Result<Vec<u8>> {
    let mut password = std::fs::read(path)?;
    if password.last() == Some(&b'\n') {
        password.pop();
        if password.last() == Some(&b'\r') {
            password.pop();
        }
    }
    Ok(password)
}

/// What to do with messages and, if they are printed, what resolves when no more can be.
fn recording(options: &Options) -> Result<(Recording, Option<Printed>), BrokerError> {
    let format = match (options.print, options.json) {
        (_, true) => Format::Json,
        (true, false) => Format::Text,
        (false, false) => return Ok((Recording::Count, None)),
    };
    let (sender, printed) = print::start(format).map_err(BrokerError::Print)?;
    Ok((Recording::Send(sender), Some(printed)))
}

/// Waits for the end of printing; for ever when nothing is printed.
async fn end_of(printed: &mut Option<Printed>) -> io::Result<()> {
    match printed {
        Some(printed) => {
            printed.await.unwrap_or_else(|_| Err(io::Error::other("the printer failed")))
        }
        None => std::future::pending().await,
    }
}

fn summary(counts: &Counts) -> String {
    let mut text = format!(
        "messages: {}, bytes: {}, repeated: {}, connections: {}",
        counts.publishes, counts.publish_bytes, counts.duplicates, counts.connects
    );
    for (what, number) in [
        ("wills", counts.wills),
        ("refused connections", counts.refusals),
        ("closed for breaking the protocol", counts.violations),
        ("closed for silence", counts.timeouts),
        ("dropped for slow subscribers", counts.dropped_unsent + counts.dropped_queued),
        ("not retained", counts.dropped_retained),
    ] {
        if number > 0 {
            text.push_str(&format!(", {what}: {number}"));
        }
    }
    text
}

fn tell(text: &str) {
    // With stderr closed there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
