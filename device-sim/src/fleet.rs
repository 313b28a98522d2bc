//! A fleet from within a program: for tests in Rust that a gateway delivers.
//!
//! It is the scenario of one fleet, put together by a [builder](FleetBuilder) in place of a file, with
//! the same checks, and played by [`run`]. [`Fleet::verify`] waits for its end and tells
//! what has become of every reading.
//!
//! Here devices publish straight to the broker, which stands for a gateway and what is behind it; with
//! a gateway it would be `.via(Via::Coap, "127.0.0.1:5683")`, and no template.
//!
//! ```
//! use std::time::Duration;
//!
//! use device_sim::broker::{Broker, BrokerConfig};
//! use device_sim::{Fleet, Via};
//!
//! # async fn delivered() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::start(BrokerConfig::default()).await?;
//! let fleet = Fleet::builder()
//!     .count(50)
//!     .seed(42)
//!     .via(Via::Mqtt, broker.url())
//!     .every(Duration::from_millis(20))
//!     .reports(5)
//!     .measures("temp", r#"{ type = "walk", start = 20, step = 0.5, min = 0, max = 40 }"#)
//!     .template(r#"{{"device":"{device}","name":"temp","value":{temp},"epoch":{epoch},"seq":{seq}}}"#)
//!     .far_end(broker.url(), "devices/+")
//!     .start()
//!     .await?;
//! let delivered = fleet.verify().await?;
//! delivered.assert_at_least_once();
//! assert_eq!(delivered.report().total().arrived, 50 * 5);
//! # Ok(())
//! # }
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(delivered())
//! # .map_err(|error| error.to_string())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod delivered;

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::builder::FleetBuilder;
pub use self::delivered::{Delivered, NotDelivered};
use crate::live::{FleetProgress, Progress};
use crate::report::Report;
use crate::run::{self, RunError, RunOptions};
use crate::scenario::{self, Scenario};
use crate::settings;

/// Devices that send until they have sent all, their time is over, or they are stopped.
///
/// Dropping it ends them at once.
#[derive(Debug)]
pub struct Fleet {
    playing: JoinSet<Result<Report, RunError>>,
    progress: watch::Receiver<Progress>,
    stop: CancellationToken,
    /// Whether it ends by itself.
    has_end: bool,
}

/// Why there is no verdict on a fleet.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// What was asked for cannot be played; every mistake in it.
    #[error("the fleet cannot be played:\n{0}")]
    Settings(Box<settings::report::Report>),
    /// It cannot go on.
    #[error("cannot play the fleet")]
    Run(#[from] RunError),
    /// Its task has ended without a report.
    #[error("the fleet ended without a report: a panic of it is in the log")]
    Ended,
}

impl Fleet {
    /// A fleet that is to be described.
    pub fn builder() -> FleetBuilder {
        FleetBuilder::new()
    }

    /// Plays a scenario of one fleet; returns when its devices send.
    async fn start(scenario: Scenario, has_end: bool) -> Result<Self, FleetError> {
        let (sender, mut progress) = watch::channel(Progress::default());
        let (stop, mut playing) = (CancellationToken::new(), JoinSet::new());
        playing.spawn(play(scenario, sender, progress.clone(), stop.clone()));
        match progress.changed().await {
            Ok(()) => Ok(Self { playing, progress, stop, has_end }),
            Err(_) => Err(match playing.join_next().await {
                Some(Ok(Err(error))) => error.into(),
                Some(Ok(Ok(_)) | Err(_)) | None => FleetError::Ended,
            }),
        }
    }

    /// How it stands, a quarter of a second ago at most.
    pub fn progress(&self) -> FleetProgress {
        self.progress.borrow().fleets.first().cloned().unwrap_or_default()
    }

    /// Waits until so many readings have arrived at the far end, or nothing more comes.
    pub async fn until_arrived(&mut self, readings: u64) {
        let arrived = |progress: &Progress| sum(progress, |fleet| fleet.arrived) >= readings;
        // An error says that the run is over.
        let _ = self.progress.wait_for(arrived).await;
    }

    /// Tells the devices to send nothing more.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until all is sent, answered and seen, or the far end has had its time; what has become of
    /// every reading. Devices that have no end are stopped.
    ///
    /// # Errors
    /// When the run failed: nothing is known then.
    pub async fn verify(mut self) -> Result<Delivered, FleetError> {
        if !self.has_end {
            self.stop();
        }
        match self.playing.join_next().await {
            Some(Ok(report)) => Ok(Delivered::new(report?)),
            Some(Err(_)) | None => Err(FleetError::Ended),
        }
    }
}

/// Plays it to its end: when all devices are silent, at the latest when its time is over.
async fn play(
    scenario: Scenario,
    sender: watch::Sender<Progress>,
    mut progress: watch::Receiver<Progress>,
    stop: CancellationToken,
) -> Result<Report, RunError> {
    let readings = scenario.fleets.iter().map(scenario::Fleet::readings).sum::<Option<u64>>();
    let options = RunOptions { file: scenario.name.clone(), ..RunOptions::default() };
    let playing = async {
        let report = run::run(&scenario, &options, sender, stop.clone()).await;
        stop.cancel();
        report
    };
    let ending = async {
        let are_silent = |progress: &Progress| {
            readings.is_some_and(|readings| sum(progress, |fleet| fleet.generated) >= readings)
        };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = progress.wait_for(are_silent) => {}
        }
        stop.cancel();
        progress.borrow().elapsed
    };
    let (report, sent_for) = tokio::join!(playing, ending);
    let mut report = report?;
    report.duration_us = report.duration_us.min(micros(sent_for));
    Ok(report)
}

fn sum(progress: &Progress, count: impl Fn(&FleetProgress) -> u64) -> u64 {
    progress.fleets.iter().map(count).sum()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
