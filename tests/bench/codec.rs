//! The codec alone: how many publishes the broker under test could take from anybody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Outcome;
use super::bare::Link;
use super::ledger::Ledger;
use super::load::published;
use super::process::own_thread_cpu;

/// Publishes every reading, with so many under way; the processor time that it took.
pub(crate) fn publish(ledger: &Arc<Ledger>, broker: SocketAddr, window: u16) -> Outcome<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut link = Link::connect(broker, window).await?;
        let before = own_thread_cpu()?;
        for index in ledger.indexes() {
            while !link.has_room() {
                link.moved().await?;
            }
            ledger.handle_sent(index);
            link.publish(published(index).as_bytes())?;
        }
        while !link.is_idle() {
            link.moved().await?;
        }
        Ok(own_thread_cpu()? - before)
    })
}
