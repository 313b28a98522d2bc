//! Posts of readings.

use super::links::gateway;
use super::{Case, Plan, WINDOW, case};
use crate::Outcome;
use crate::bare_http::BareHttp;
use crate::figure::Run;
use crate::gateway::Setup;
use crate::load;

/// A case, and what it is held against.
pub(super) const RATIOS: &[(&str, &str)] = &[("http", "bare-http"), ("http", "bare-http-durable")];

const HTTP: &str = "link = { type = \"http\", bind = ADDRESS }";
const POSTS: u32 = 50_000;

/// The gateway beside a server that does nothing else.
pub(super) fn posts() -> Vec<Case> {
    vec![
        case("http", "POST of JSON → synced → 202 → PUBACK, 16 connections", |plan| {
            gateway(plan, POSTS, &Setup::new(HTTP, WINDOW), load::post)
        }),
        case("bare-http", "POST → 202 of a hyper server, nothing kept or passed on", |plan| {
            bare(plan, false)
        }),
        case("bare-http-durable", "the same with a raw log, one sync for all that waits", |plan| {
            bare(plan, true)
        }),
    ]
}

fn bare(plan: &Plan, is_durable: bool) -> Outcome<Run> {
    let ledger = plan.ledger(POSTS);
    let bare = BareHttp::start(&ledger, is_durable.then_some(plan.dir.as_path()))?;
    load::post(&ledger, bare.address)?;
    let cpu = bare.stop()?;
    Ok(ledger.run()?.with_cpu(ledger.arrived(), cpu))
}
