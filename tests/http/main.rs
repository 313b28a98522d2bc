//! HTTP sources: what programs that others wrote post, what a browser shows, and what somebody who
//! means no good gets.
//!
//! Needs curl and chromium, as `tests/setup` installs them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod durable;
#[path = "../harness.rs"]
mod harness;
mod hostile;
mod page;
mod posting;
mod showing;

use harness::gateway::Gateway;

/// A gateway with one HTTP source, `web`, that has these keys in its link, and these lines.
fn start(keys: &str, lines: &str) -> Gateway {
    Gateway::start(&config(keys, lines, "mqtt://127.0.0.1:1"))
}

/// The configuration of one that publishes to a broker.
fn config(keys: &str, lines: &str, broker: &str) -> String {
    format!(
        r#"
[sources.web]
link = {{ type = "http", bind = "127.0.0.1:0"{keys} }}
{lines}
[brokers.sim]
url = "{broker}"
max_backoff = "1s"
[routes.all]
"#
    )
}
