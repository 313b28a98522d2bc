//! The disk.

use super::{Case, TCP, WINDOW, case};
use crate::gateway::Setup;
use crate::{appends, wear};

/// A case, and what it is held against.
pub(super) const RATIOS: &[(&str, &str)] = &[
    ("store-spool-1", "store-log-1"),
    ("store-spool-16", "store-log-16"),
    ("store-spool-256", "store-log-256"),
];

/// The disk alone.
pub(super) fn stores() -> Vec<Case> {
    let batches = [
        ("store-spool-1", "store-log-1", 1),
        ("store-spool-16", "store-log-16", 16),
        ("store-spool-256", "store-log-256", 256),
    ];
    let pair = |(spool, log, batch)| {
        let ours = case(spool, "records of 150 bytes into the gateway's store", move |plan| {
            appends::spool(&plan.dir, batch, plan.duration())
        });
        let limit =
            case(log, "as many bytes into a raw log, one write and sync a batch", move |p| {
                appends::raw_log(&p.dir, batch, p.duration())
            });
        [ours, limit]
    };
    batches.into_iter().flat_map(pair).collect()
}

/// What is written to the disk, by readings a second and commit interval.
pub(super) fn wears() -> Vec<Case> {
    let rates = [
        ("wear-1", 1, "0s"),
        ("wear-1-slow", 1, "1s"),
        ("wear-10", 10, "0s"),
        ("wear-10-slow", 10, "1s"),
        ("wear-1000", 1000, "0s"),
        ("wear-1000-slow", 1000, "1s"),
    ];
    let case = |(name, per_second, commit_interval)| {
        let what = match commit_interval {
            "0s" => "JSON lines at that many a second, commit_interval 0s (the default)",
            _ => "the same with commit_interval 1s",
        };
        let setup = Setup { commit_interval, ..Setup::new(TCP, WINDOW) };
        Case { is_wear: true, ..case(name, what, move |p| wear::wear(p, per_second, &setup)) }
    };
    rates.into_iter().map(case).collect()
}
