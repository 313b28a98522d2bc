//! What a kept threshold proves: readings that nobody took cannot be lost.
//!
//! `lost` counts what was accepted and never seen. Where nothing was accepted, or nothing is seen at
//! all, it is 0 whatever the gateway does, and keeping it proves nothing: it counts as missed, unless
//! the scenario says by another threshold how much may be left out.

use super::{Metric, Thresholds};
use crate::report::{Fleet, Report, text};

impl Thresholds {
    /// Why `lost` says nothing of this run; `None` where it does.
    pub(super) fn hollow(&self, report: &Report) -> Option<String> {
        let lost = self.0.get(&Metric::Lost)?;
        let says_nothing = format!("so `lost {lost}` says nothing");
        let nobody: Vec<_> =
            report.fleets.iter().filter(|(_, fleet)| self.is_left_out(fleet)).collect();
        let answered = report.fleets.values().filter(|fleet| fleet.acknowledges());
        match nobody.as_slice() {
            [] if report.total().arrived == 0 && !self.0.contains_key(&Metric::Arrived) => {
                Some(format!("nothing arrived, {says_nothing}"))
            }
            [] => None,
            nobody if nobody.len() == answered.count() => {
                Some(format!("nothing was acknowledged, {says_nothing}"))
            }
            [(name, fleet), ..] => {
                let sent = text::count(fleet.sent);
                Some(format!(
                    "nothing of `{name}` was acknowledged ({sent} were sent), {says_nothing} of it"
                ))
            }
        }
    }

    /// Whether a fleet that waits for acknowledgements got none, and nothing is asked of that.
    fn is_left_out(&self, fleet: &Fleet) -> bool {
        let asks = |metric| self.0.contains_key(&metric);
        let is_asked = asks(Metric::Acknowledged)
            || [(fleet.refused, Metric::Refused), (fleet.unanswered, Metric::Unanswered)]
                .into_iter()
                .all(|(count, metric)| count == 0 || asks(metric));
        fleet.acknowledges() && fleet.sent > 0 && fleet.acknowledged == 0 && !is_asked
    }

    /// What the thresholds leave out of sight, in a sentence each.
    pub fn warnings(&self, report: &Report) -> Vec<String> {
        let total = report.total();
        [(total.unanswered, Metric::Unanswered), (total.refused, Metric::Refused)]
            .into_iter()
            .filter(|(count, metric)| *count > 0 && !self.0.contains_key(metric))
            .map(|(amount, metric)| {
                let (name, count) = (metric.name(), text::count(amount));
                let share = text::share(amount, total.sent);
                let were = if amount == 1 { "reading was" } else { "readings were" };
                format!(
                    "{count} {were} {name} ({share}), which `lost` does not count: say in [thresholds] \
                     how many may be, such as `{name} = \"< 1%\"`"
                )
            })
            .collect()
    }
}
