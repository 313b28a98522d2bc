//! What has become of a fleet's readings, held to a promise.

use std::fmt;

use crate::report::Report;
use crate::scenario::model::Delivery;

/// What has become of every reading of a fleet.
#[derive(Clone, Debug)]
#[must_use = "nothing was asserted of it yet"]
pub struct Delivered {
    report: Report,
}

/// A promise was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{promise} delivery was not kept:\n{}", missed.join("\n"))]
pub struct NotDelivered {
    promise: Promise,
    missed: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Promise(Delivery);

impl Delivered {
    pub(super) const fn new(report: Report) -> Self {
        Self { report }
    }

    /// The counts, latencies and examples behind it.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Whether a promise was kept. Nothing that was sent, or nothing that arrived, keeps none.
    ///
    /// # Errors
    /// With what was not kept, and the first reading of each kind of failure.
    pub fn check(&self, promise: Delivery) -> Result<(), NotDelivered> {
        let (report, total) = (&self.report, self.report.total());
        let outcomes = promise.thresholds().evaluate(report);
        let missed = outcomes.iter().filter(|outcome| !outcome.passed);
        let mut missed: Vec<_> =
            missed.map(|outcome| format!("{}: {}", outcome.name, outcome.reason)).collect();
        if total.arrived == 0 {
            let what = format!("nothing arrived of {} readings that were sent", total.sent);
            missed.push(format!("{what}, {} of them accepted", total.acknowledged));
        }
        if missed.is_empty() {
            return Ok(());
        }
        for (failure, example) in &report.examples {
            let told = |what: &str, value: &Option<String>| {
                value.as_ref().map(|value| format!(", {what} {value}")).unwrap_or_default()
            };
            let (device, name, mark) = (&example.device, &example.name, example.mark);
            let values = told("sent", &example.expected) + &told("got", &example.got);
            missed.push(format!("first {failure}: {device} {name}, {mark}{values}"));
        }
        Err(NotDelivered { promise: Promise(promise), missed })
    }

    /// Nothing was doubled, refused or changed.
    ///
    /// # Panics
    /// When that is not so.
    #[track_caller]
    pub fn assert_at_most_once(&self) {
        self.assert(Delivery::AtMostOnce);
    }

    /// Nothing that was accepted was lost, and nothing was refused or changed.
    ///
    /// # Panics
    /// When that is not so.
    #[track_caller]
    pub fn assert_at_least_once(&self) {
        self.assert(Delivery::AtLeastOnce);
    }

    /// Nothing was lost, doubled, refused or changed.
    ///
    /// # Panics
    /// When that is not so.
    #[track_caller]
    pub fn assert_exactly_once(&self) {
        self.assert(Delivery::ExactlyOnce);
    }

    #[track_caller]
    fn assert(&self, promise: Delivery) {
        if let Err(error) = self.check(promise) {
            // An assertion of a test: that is what it is for.
            panic!("{error}");
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Delivery::AtMostOnce => "at-most-once",
            Delivery::AtLeastOnce => "at-least-once",
            Delivery::ExactlyOnce => "exactly-once",
        })
    }
}
