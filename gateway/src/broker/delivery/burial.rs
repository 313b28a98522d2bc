//! Dead letters: what a broker does not take is put on disk, and only then counts as settled.

use proto::Timestamp;
use tracing::debug;

use super::super::lane::LaneId;
use super::super::session::Ticket;
use super::{Delivery, Refused};
use crate::store::{DeadLetter, Record, StoreError};

impl Delivery {
    /// Puts what was refused on disk, and only then counts it as settled.
    pub(super) async fn bury(&mut self, wall: Timestamp) -> Result<(), StoreError> {
        if self.refused.is_empty() {
            return Ok(());
        }
        let refused = std::mem::take(&mut self.refused);
        let mut letters = Vec::with_capacity(refused.len());
        for Refused { ticket, reason, detail } in &refused {
            // A reading that was dropped for this broker meanwhile leaves no letter.
            let Some((record, topic)) = self.letter(*ticket, wall).await? else { continue };
            letters.push(DeadLetter {
                id: 0,
                broker: self.name.to_string(),
                time: wall,
                reason: (*reason).to_owned(),
                detail: detail.clone(),
                topic,
                record,
            });
        }
        self.spool.bury(letters).await?;
        for Refused { ticket, reason, detail } in refused {
            debug!(broker = %self.name, n = ticket.n, reason, detail, "a dead letter");
            self.status.refused.count(reason, || detail);
            self.quarantine.handle_settled(ticket.whole());
            if LaneId::of(ticket.lane) == Some(LaneId::Again) {
                self.again.refuse(ticket.n);
            }
            self.settle(ticket);
        }
        Ok(())
    }

    /// What was refused, as long as it is known, and under which topic.
    async fn letter(
        &mut self,
        ticket: Ticket,
        wall: Timestamp,
    ) -> Result<Option<(Record, String)>, StoreError> {
        let id = LaneId::of(ticket.lane);
        if id == Some(LaneId::Windows) {
            let windows = self.windows.as_ref();
            return Ok(windows.and_then(|w| w.letter(ticket.n, ticket.part, wall)));
        }
        let Some(record) = self.record(ticket.n).await? else { return Ok(None) };
        let lane = id.and_then(|id| self.lane(id));
        let topic = lane.and_then(|lane| lane.topic_of(&record, ticket.part, wall));
        Ok(Some((record, topic.unwrap_or_default())))
    }

    /// A record, as long as it is on disk.
    async fn record(&self, n: u64) -> Result<Option<Record>, StoreError> {
        let chunks = self.spool.read(n).await?;
        let records = chunks.first().map(|chunk| chunk.records.iter());
        Ok(records.into_iter().flatten().find(|record| record.n == n).cloned())
    }
}
