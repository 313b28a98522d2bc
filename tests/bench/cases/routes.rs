//! What a route does to the readings of a store that is full of them.

use std::sync::Arc;

use super::{Case, FAR, FAST, Plan, TCP, case};
use crate::Outcome;
use crate::backlog;
use crate::figure::Run;
use crate::gateway::Setup;
use crate::ledger::{Ledger, Told};

/// A case, and what it is held against: a route that changes nothing.
pub(super) const RATIOS: &[(&str, &str)] =
    &[("routes-transform", "backlog-w1000"), ("routes-aggregate", "backlog-w1000")];

/// Leaves nothing out, so that every reading has to arrive.
const TRANSFORM: &str = r#"
when = 'name == "value" && value >= 0 && device.startsWith("th-")'
convert = { unit = "degF", from = "Cel" }
rename = "air_{name}"
deadband = 0.5
"#;
/// With the counts that tell whether every reading is in a window.
const AGGREGATE: &str = r#"
device = "th-*"
aggregate = { window = "1s", of = ["min", "mean", "max", "count"], grace = "0s" }
"#;

/// Beside the backlog with the same window.
pub(super) fn routes() -> Vec<Case> {
    vec![
        case(
            "routes-transform",
            "backlog-w1000 by a route with `when`, `convert`, `rename` and `deadband`",
            |plan| drain(plan, Told::Sequence, TRANSFORM),
        ),
        case(
            "routes-aggregate",
            "backlog-w1000 by a route with `aggregate`: four statistics of a second, 64 devices",
            |plan| drain(plan, Told::Count, AGGREGATE),
        ),
    ]
}

fn drain(plan: &Plan, told: Told, route: &'static str) -> Outcome<Run> {
    let ledger = Arc::new(Ledger::told(told, plan.count(FAST)));
    backlog::drain(plan, &ledger, &Setup { route, ..Setup::new(TCP, FAR) })
}
