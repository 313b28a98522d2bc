//! `gateway run`

use std::future::Future;
use std::io::{self, IsTerminal as _};

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use super::output::is_colour_wanted;
use super::{ConfigArgs, complain, complain_of};
use crate::app::App;
use crate::config::Config;
use crate::exit::Exit;
use crate::supervisor::Supervisor;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    log: LogArgs,
}

/// How the log is written.
#[derive(Args, Clone, Debug)]
pub(super) struct LogArgs {
    /// What is logged: error, warn, info, debug, trace, or `gateway::broker=trace,info`
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: EnvFilter,
    /// Form of the log on standard error
    #[arg(long, value_name = "FORM", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Exit {
    let loaded = match config.load() {
        Ok(loaded) => loaded,
        Err(report) => return complain(&report),
    };
    start_log(&arguments.log);
    match block_on(serve(&loaded.config)) {
        Ok(exit) => exit,
        Err(error) => {
            complain_of(&error);
            Exit::Failure
        }
    }
}

/// Runs on one thread: the work is small turns, and the disk has a thread of its own.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}

impl LogArgs {
    /// Text with this filter.
    pub(super) const fn text(log: EnvFilter) -> Self {
        Self { log, log_format: LogFormat::Text }
    }
}

pub(super) fn start_log(arguments: &LogArgs) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(arguments.log.clone())
        .with_writer(io::stderr)
        .with_ansi(is_colour_wanted() && io::stderr().is_terminal());
    match arguments.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

async fn serve(config: &Config) -> Exit {
    let app = match App::start(config).await {
        Ok(app) => app,
        Err(error) => {
            complain_of(&error);
            return Exit::Failure;
        }
    };
    let stop = CancellationToken::new();
    let mut signals = Supervisor::new();
    signals.start("signals".to_owned(), stop_on_signal(stop.clone()));
    // Without a service manager there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let ended = app.run(config, stop).await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    match ended {
        Ok(()) => Exit::Ok,
        Err(error) => {
            complain_of(&error);
            Exit::Failure
        }
    }
}

/// Cancels `stop` on SIGTERM or SIGINT; feeds systemd's watchdog while the loop turns.
pub(super) async fn stop_on_signal(stop: CancellationToken) {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        warn!("cannot listen for signals");
        return;
    };
    let period = sd_notify::watchdog_enabled();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => warn!("the configuration is read at the start; restart to apply a change"),
            () = feed_after(period) => {
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
            }
        }
    }
    info!("told to stop");
    stop.cancel();
}

/// Half the watchdog's period, or never.
async fn feed_after(period: Option<std::time::Duration>) {
    match period {
        Some(period) => tokio::time::sleep(period / 2).await,
        None => std::future::pending().await,
    }
}
