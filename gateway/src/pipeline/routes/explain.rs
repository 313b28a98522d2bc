//! What every route makes of a reading, and why.

use proto::Timestamp;

use super::{Expired, Mismatch, Publish, Recipient, Route, Routes};
use crate::store::Record;

/// What a route makes of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explained {
    /// The route's name.
    pub(crate) route: String,
    pub(crate) verdict: Verdict,
}

/// Whether a route takes a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It does not: the value of this key does not fit.
    NotTaken { key: &'static str, wanted: String },
    /// It does, and this is what each broker gets.
    Taken(Vec<(String, Result<Publish, Expired>)>),
}

impl Routes {
    /// What every route makes of the reading in a record, `now`.
    pub(crate) fn explain(
        &self,
        recipients: &[Recipient],
        record: &Record,
        now: Timestamp,
    ) -> Vec<Explained> {
        // Routes touch nothing else.
        let Some(reading) = record.reading() else { return Vec::new() };
        let explain = |route: &Route| Explained {
            route: route.id.to_string(),
            verdict: match route.mismatch(&record.source, reading) {
                Some(key) => route.not_taken(key),
                None => {
                    let to = recipients.iter().filter(|to| route.goes_to(&to.broker));
                    let publish = |to: &Recipient| {
                        (to.broker.clone(), self.publish(route, to, record, reading, now))
                    };
                    Verdict::Taken(to.map(publish).collect())
                }
            },
        };
        self.routes.iter().map(explain).collect()
    }
}

impl Route {
    fn not_taken(&self, key: Mismatch) -> Verdict {
        let (key, wanted) = match key {
            Mismatch::From => {
                let from: Vec<_> = self.from.iter().map(ToString::to_string).collect();
                ("from", from.join(", "))
            }
            Mismatch::Device => ("device", self.device.to_string()),
            Mismatch::Name => ("name", self.name.to_string()),
        };
        Verdict::NotTaken { key, wanted }
    }
}
