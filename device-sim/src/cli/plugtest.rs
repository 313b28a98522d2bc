//! `device-sim plugtest`.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use device_sim::plugtest::{PlugtestConfig, PlugtestServer};
use tokio::signal::unix::{SignalKind, signal};

/// What stands below the options in the long help.
pub(crate) const MANUAL: &str = "\
Resources:
  /test                            GET, PUT, DELETE; POST creates what Location-Path says
  /location1/location2/location3   what that POST created
  /location-query                  POST, answered with Location-Query
  /seg1/seg2/seg3                  GET, a path of three segments
  /query                           GET, the arguments of the query, one a line
  /separate                        GET, an empty Acknowledgement, then the response
  /multi-format                    GET as text (0) or XML (41)
  /validate                        GET, PUT, DELETE with ETag and If-Match
  /create1                         the same, absent at first, for If-None-Match
  /large                           GET, 1280 bytes
  /large-update                    GET, PUT, DELETE of a large body
  /large-create                    POST of a large body, found at /large-create/1
  /large-post                      POST, answered with the body in capitals
  /obs, /obs-non                   observable; GET, PUT, DELETE
  /obs-large                       the same, 1280 bytes
  /obs-pumping                     the same, changes ten times as often
  /obs-reset                       the same; POST ends all observations of it
  /link1, /link2, /link3           for the filters of /.well-known/core
  /path, /path/sub1 to sub3        a link description below another one

Try it:
  coap-client-notls coap://127.0.0.1:5683/.well-known/core
  coap-client-notls -s 20 coap://127.0.0.1:5683/obs";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where to listen; port 0 takes a free one, which is shown.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5683")]
    bind: String,

    /// How often the observable resources change, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    interval: u64,

    /// How long the response of /separate takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    separate_after: u64,
}

/// Why the server did not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlugtestError {
    #[error("cannot listen on {bind}")]
    Bind { bind: String, source: io::Error },
    #[error("cannot wait for signals")]
    Signal(#[source] io::Error),
}

impl PlugtestError {
    /// What the user can do about it.
    pub(super) fn hint(&self) -> Option<String> {
        let Self::Bind { source, .. } = self else { return None };
        let kind = source.kind();
        let hint = if kind == io::ErrorKind::AddrInUse {
            "another CoAP server listens there, perhaps a gateway; stop it, or take a free port \
             with --bind 127.0.0.1:0"
        } else if kind == io::ErrorKind::AddrNotAvailable {
            "this machine does not have that address; 127.0.0.1 is for local clients only, 0.0.0.0 \
             for everybody"
        } else {
            "write it as ADDRESS:PORT, for instance 127.0.0.1:5683"
        };
        Some(hint.to_owned())
    }
}

/// Runs the server until it is interrupted.
pub(super) async fn run(options: Options) -> Result<(), PlugtestError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(PlugtestError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(PlugtestError::Signal)?;
    let bind = options.bind;
    let config = PlugtestConfig {
        bind: bind.clone(),
        interval: Duration::from_millis(options.interval),
        separate_after: Duration::from_millis(options.separate_after),
        ..PlugtestConfig::default()
    };
    let server = PlugtestServer::start(config)
        .await
        .map_err(|source| PlugtestError::Bind { bind, source })?;
    // With stderr closed there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "listening on {}; end with Ctrl-C", server.url());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    server.shutdown().await;
    Ok(())
}
