//! `device-sim broker`.

mod control;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use device_sim::broker::{Broker, BrokerConfig, Counts, Login, Recording, Switch};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::control::{Order, Outcome};
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

    /// Misbehaves from the start; may be given more than once. The switches are listed below.
    #[arg(long = "fault", value_name = "SWITCH")]
    faults: Vec<Switch>,

    /// Takes switches and other orders as lines while it runs and answers each with a line of JSON
    /// on standard output: {"control":"refuse banned","ok":true}.
    #[arg(long, value_name = "WHERE")]
    control: Option<Control>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Control {
    /// Standard input. Its end ends nothing but the control.
    Stdin,
}

/// What stands below the options in the long help.
pub(crate) fn manual() -> String {
    let switches = Switch::manual();
    format!(
        "Switches, for --fault and --control:\n{switches}\n\nOnly for --control:\n{}",
        control::WORDS
    )
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
    #[error("cannot read standard input")]
    Control(#[source] io::Error),
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
    let bind = options.bind.clone();
    let config = BrokerConfig { bind: bind.clone(), login, recording, ..BrokerConfig::default() };
    let broker =
        Broker::start(config).await.map_err(|source| BrokerError::Bind { bind, source })?;
    for switch in &options.faults {
        switch.apply(broker.faults());
    }
    let mut orders = match options.control {
        Some(Control::Stdin) => Some(control::start().map_err(BrokerError::Control)?),
        None => None,
    };
    tell(&format!("listening on {}; end with Ctrl-C", broker.url()));
    let closed = loop {
        tokio::select! {
            _ = interrupt.recv() => break None,
            _ = terminate.recv() => break None,
            closed = end_of(&mut printed) => break Some(closed),
            Some((order, outcome)) = next(&mut orders) => {
                // An error means that nobody awaits it any more.
                let _ = outcome.send(carry_out(order, &broker).await);
            }
        }
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

/// The next order; for ever when there is no control.
async fn next(orders: &mut Option<mpsc::Receiver<control::Asked>>) -> Option<control::Asked> {
    match orders {
        Some(orders) => orders.recv().await,
        None => std::future::pending().await,
    }
}

async fn carry_out(order: Order, broker: &Broker) -> Outcome {
    match order {
        Order::Switch(switch) => switch.apply(broker.faults()),
        Order::Down => broker.down().await.map_err(|error| error.to_string())?,
        Order::Up => broker.up().await.map_err(|error| error.to_string())?,
        Order::Counts => return Ok(Some(broker.counts())),
    }
    Ok(None)
}

fn login(options: &Options) -> Result<Option<Login>, BrokerError> {
    let (Some(user), Some(path)) = (&options.user, &options.password_file) else { return Ok(None) };
    let password = read_password(path)
        .map_err(|source| BrokerError::Password { path: path.clone(), source })?;
    Ok(Some(Login { user: user.clone(), password }))
}

/// The password in a file; a line end behind it does not count.
pub(super) fn read_password(path: &Path) -> io::Result<Vec<u8>> {
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
        ("dropped because they had expired", counts.dropped_expired),
        ("dropped because they are too large", counts.dropped_oversize),
        ("not retained", counts.dropped_retained),
        ("left without an answer", counts.unanswered),
        ("disconnected on purpose", counts.disconnects),
        ("cut on purpose", counts.cuts),
        ("closed because of a message", counts.poisoned),
        ("rejected messages", counts.rejected),
        ("forgotten messages", counts.lies),
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
