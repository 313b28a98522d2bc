//! Reports of shards become that of the whole.

use std::collections::BTreeSet;

use super::{Report, Resources, Shard, Wall};

/// Reports do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// They are of different runs.
    #[error("the reports have different {what}: {ours} and {theirs}; merge shards of one run only")]
    Different {
        /// What differs.
        what: &'static str,
        /// In the first.
        ours: String,
        /// In the second.
        theirs: String,
    },
    /// The same part twice would count twice.
    #[error("two reports are of {0}; give each report once")]
    Twice(String),
    /// Without a part it would not be the whole.
    #[error("there is no report of {0}; give the reports of all shards")]
    Missing(String),
    /// There is none.
    #[error("no report to merge")]
    Nothing,
}

impl Report {
    /// One report of those of several shards, in any order.
    ///
    /// # Errors
    /// When they are of different runs, or one is there twice.
    pub fn merge(reports: Vec<Self>) -> Result<Self, MergeError> {
        let mut reports = reports.into_iter();
        let mut merged = reports.next().ok_or(MergeError::Nothing)?;
        let mut shards: BTreeSet<_> = [merged.shard].into();
        for report in reports {
            if !shards.insert(report.shard) {
                return Err(MergeError::Twice(name(report.shard)));
            }
            merged.add(report)?;
        }
        if let Some(Shard { count, .. }) = merged.shard {
            let mut all = (1..=count).map(|index| Shard::new(index, count));
            if let Some(missing) = all.find(|shard| !shards.contains(shard)) {
                return Err(MergeError::Missing(name(missing)));
            }
        }
        merged.shard = None;
        merged.conclude();
        Ok(merged)
    }

    fn add(&mut self, other: Self) -> Result<(), MergeError> {
        same("scenarios", &self.scenario, &other.scenario)?;
        same("seeds", &self.seed, &other.seed)?;
        same("durations", &self.duration_us, &other.duration_us)?;
        same(
            "numbers of shards",
            &self.shard.map_or(1, |shard| shard.count),
            &other.shard.map_or(1, |shard| shard.count),
        )?;
        let spans = |report: &Self| {
            let phases =
                report.phases.iter().map(|phase| (phase.name.clone(), phase.spans.clone()));
            (
                phases.collect::<Vec<_>>(),
                report.recoveries.iter().map(|recovery| recovery.span.clone()).collect::<Vec<_>>(),
            )
        };
        if spans(self) != spans(&other) || self.thresholds != other.thresholds {
            return same("faults or thresholds", &"those of one file", &"of another");
        }
        for (name, fleet) in &other.fleets {
            *self.fleets.entry(name.clone()).or_default() += fleet;
        }
        self.unknown = self.unknown.saturating_add(other.unknown);
        for mix in other.latency {
            match self.latency.iter_mut().find(|own| own.faults == mix.faults) {
                Some(own) => own.latency += &mix.latency,
                None => self.latency.push(mix),
            }
        }
        self.latency.sort_by(|a, b| a.faults.cmp(&b.faults));
        for (own, recovery) in self.recoveries.iter_mut().zip(&other.recoveries) {
            *own += recovery;
        }
        self.series.merge(other.series);
        if let Some(commands) = other.commands {
            *self.commands.get_or_insert_default() += commands;
        }
        for (failure, example) in other.examples {
            let own = self.examples.entry(failure).or_insert_with(|| example.clone());
            if example.is_before(own) {
                *own = example;
            }
        }
        self.wall = match (self.wall.take(), other.wall) {
            (Some(own), Some(other)) => Some(merge_walls(own, other)),
            (own, other) => own.or(other),
        };
        Ok(())
    }
}

fn name(shard: Option<Shard>) -> String {
    shard.map_or_else(|| "the whole run".to_owned(), |shard| format!("shard {shard}"))
}

fn same<T: PartialEq + ToString>(
    what: &'static str,
    ours: &T,
    theirs: &T,
) -> Result<(), MergeError> {
    if ours == theirs {
        return Ok(());
    }
    Err(MergeError::Different { what, ours: ours.to_string(), theirs: theirs.to_string() })
}

/// The earliest start; machines and what gateways took, added up.
fn merge_walls(own: Wall, other: Wall) -> Wall {
    let gateway = match (own.gateway, other.gateway) {
        // Shards may watch the same gateway, or each its own: the most that one of them has seen.
        (Some(a), Some(b)) => Some(Resources {
            max_rss_bytes: a.max_rss_bytes.max(b.max_rss_bytes),
            cpu_us: a.cpu_us.max(b.cpu_us),
        }),
        (own, other) => own.or(other),
    };
    Wall {
        started: own.started.min(other.started),
        processors: own.processors.saturating_add(other.processors),
        gateway,
        ..own
    }
}
