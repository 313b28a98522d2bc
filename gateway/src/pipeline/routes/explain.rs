//! What every route makes of a reading, and why.

use proto::{Reading, Timestamp};

use super::super::transform::{LeftOut, Memory, Window};
use super::{Mismatch, Publish, Recipient, Route, Routes};
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
    Taken(Vec<(String, Result<Publish, LeftOut>)>),
    /// It becomes a part of others.
    Gathered(Result<Gathered, LeftOut>),
}

/// Readings that a route makes of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gathered {
    /// When they are published, if nothing is late.
    pub(crate) due: Timestamp,
    pub(crate) names: Vec<String>,
}

impl Routes {
    /// What every route makes of the reading in a record, `now`. What was explained before is what
    /// was sent before.
    pub(crate) fn explain(
        &self,
        recipients: &mut [(Recipient, Memory)],
        record: &Record,
        now: Timestamp,
    ) -> Vec<Explained> {
        // Routes touch nothing else.
        let Some(reading) = record.reading() else { return Vec::new() };
        let mut verdict = |index: usize, route: &Route| {
            if let Some(key) = route.mismatch(&record.source, reading) {
                return route.not_taken(key);
            }
            if let Some(window) = &route.window {
                return Verdict::Gathered(route.gathered(window, record, reading));
            }
            let to = recipients.iter_mut().filter(|(to, _)| route.goes_to(&to.broker));
            let publish = |(to, memory): &mut (Recipient, Memory)| {
                let memory = Some((memory, index));
                (to.broker.clone(), self.transformed(route, to, record, reading, now, memory))
            };
            Verdict::Taken(to.map(publish).collect())
        };
        let explain = |(index, route): (usize, &Route)| Explained {
            route: route.id.to_string(),
            verdict: verdict(index, route),
        };
        self.routes.iter().enumerate().map(explain).collect()
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

    fn gathered(
        &self,
        window: &Window,
        record: &Record,
        reading: &Reading,
    ) -> Result<Gathered, LeftOut> {
        let reading = self.transform(record, reading)?;
        let due = window.due(record, &reading)?;
        Ok(Gathered { due, names: window.names(&reading.name).collect() })
    }
}
