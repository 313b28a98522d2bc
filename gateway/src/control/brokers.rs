//! What a client asks of the brokers: readings once more, dead letters, the wire.

use std::collections::BTreeMap;

use proto::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::request::{End, LetterChoice};
use super::{Answer, AnswerError, LETTERS, STALL};
use crate::broker::{BrokerHandle, Resent, Stopping, What, WireEntry};
use crate::clock;
use crate::pipeline::{export_line, rfc3339_text};
use crate::status::Status;
use crate::store::{DeadLetter, Record};

/// Sends what was received in a time once more.
pub(super) async fn replay(
    answer: &mut Answer,
    status: &Status,
    broker: &str,
    received: (Option<i64>, Option<i64>),
) -> Result<End, AnswerError> {
    let handle = match handle(status, broker) {
        Ok(handle) => handle,
        Err(end) => return Ok(end),
    };
    let from = Timestamp::from_nanos(received.0.unwrap_or(i64::MIN));
    let to = Timestamp::from_nanos(received.1.unwrap_or(i64::MAX));
    // A record is committed after it was received.
    let first = status.spool.first_since(from, u64::MAX).await?;
    let numbers = first.max(1)..status.spool.status().next;
    match handle.resend(What::Range { numbers, received: from..to }).await {
        Ok(resent) => answer.line(&resent)?,
        Err(stopping) => return Ok(End::Failed(stopping.to_string())),
    }
    Ok(End::Complete)
}

/// A dead letter, as a line.
#[derive(Serialize)]
struct LetterLine<'a> {
    id: u64,
    broker: &'a str,
    time: String,
    reason: &'a str,
    detail: &'a str,
    topic: &'a str,
    reading: Box<RawValue>,
}

/// Dead letters, one a line.
pub(super) async fn list(
    answer: &mut Answer,
    status: &Status,
    choice: &LetterChoice,
) -> Result<End, AnswerError> {
    answer.patience = STALL;
    let mut after = Some(0);
    while let Some(id) = after {
        let page = status.spool.dead(id, LETTERS).await?;
        for letter in page.letters.iter().filter(|letter| choice.takes(letter)) {
            let reading =
                String::from_utf8_lossy(&export_line(&letter.record)).trim_end().to_owned();
            answer.line(&LetterLine {
                id: letter.id,
                broker: &letter.broker,
                time: rfc3339_text(letter.time),
                reason: &letter.reason,
                detail: &letter.detail,
                topic: &letter.topic,
                reading: RawValue::from_string(reading).map_err(std::io::Error::from)?,
            })?;
            answer.send_if_much().await?;
        }
        after = page.next_after;
    }
    Ok(End::Complete)
}

/// What came of the dead letters of one broker.
#[derive(Serialize)]
struct Outcome<'a> {
    broker: &'a str,
    /// Readings that the broker has acknowledged now.
    acknowledged: u64,
    /// Readings that it has refused again: they stay.
    refused: usize,
    /// Readings that no route sends to it any more: they stay.
    unrouted: usize,
}

/// Sends dead letters again and deletes those that arrive.
pub(super) async fn resend(
    answer: &mut Answer,
    status: &Status,
    choice: &LetterChoice,
) -> Result<End, AnswerError> {
    for (broker, letters) in chosen(status, choice).await? {
        let handle = match handle(status, &broker) {
            Ok(handle) => handle,
            Err(end) => return Ok(end),
        };
        let records: BTreeMap<u64, Record> =
            letters.iter().map(|letter| (letter.record.n, letter.record.clone())).collect();
        let what = What::Records(records.into_values().collect());
        let Resent { acknowledged, refused, unrouted } = match handle.resend(what).await {
            Ok(resent) => resent,
            Err(stopping) => return Ok(End::Failed(stopping.to_string())),
        };
        let stays = |n| refused.contains(n) || unrouted.contains(n);
        let arrived = letters.iter().filter(|letter| !stays(&letter.record.n));
        status.spool.unbury(arrived.map(|letter| letter.id).collect()).await?;
        let (refused, unrouted) = (refused.len(), unrouted.len());
        answer.line(&Outcome { broker: &broker, acknowledged, refused, unrouted })?;
    }
    Ok(End::Complete)
}

/// Deletes dead letters.
pub(super) async fn drop_letters(
    answer: &mut Answer,
    status: &Status,
    choice: &LetterChoice,
) -> Result<End, AnswerError> {
    for (broker, letters) in chosen(status, choice).await? {
        let dropped = letters.len();
        status.spool.unbury(letters.iter().map(|letter| letter.id).collect()).await?;
        answer.line(&Dropped { broker: &broker, dropped })?;
    }
    Ok(End::Complete)
}

/// How many dead letters of a broker were deleted.
#[derive(Serialize)]
struct Dropped<'a> {
    broker: &'a str,
    dropped: usize,
}

/// The packets of one broker's connection, one a line, until the client is gone.
pub(super) async fn wire(
    answer: &mut Answer,
    status: &Status,
    broker: &str,
) -> Result<End, AnswerError> {
    answer.patience = STALL;
    let handle = match handle(status, broker) {
        Ok(handle) => handle,
        Err(end) => return Ok(end),
    };
    let mut packets = match handle.wire().await {
        Ok(packets) => packets,
        Err(stopping) => return Ok(End::Failed(stopping.to_string())),
    };
    while let Some(packet) = packets.recv().await {
        let (time, text) = (rfc3339_text(clock::wall()), packet.to_string());
        answer.line(&Packet { time, text, packet: &packet })?;
        if packets.is_empty() {
            answer.send().await?;
        }
        answer.send_if_much().await?;
    }
    Ok(End::Failed(Stopping.to_string()))
}

/// A packet, as a line.
#[derive(Serialize)]
struct Packet<'a> {
    /// When it was shown.
    time: String,
    /// The rest in words.
    text: String,
    #[serde(flatten)]
    packet: &'a WireEntry,
}

/// How long the oldest reading that waits for a broker has been in the store.
pub(super) async fn oldest_seconds(status: &Status, broker: &str) -> Option<u64> {
    let spool = &status.spool;
    let next = spool.oldest_pending(broker).filter(|n| *n < spool.status().next)?;
    let chunks = spool.read(next).await.ok()?;
    let oldest = chunks.iter().flat_map(|chunk| &chunk.records).find(|record| record.n >= next)?;
    Some(spool.times().age(oldest, clock::wall()).as_secs())
}

/// Waits until the client has hung up.
pub(super) async fn until_gone(reader: &mut (impl AsyncRead + Unpin)) {
    // Whatever it says after its request does not matter.
    while reader.read(&mut [0]).await.is_ok_and(|count| count > 0) {}
}

fn handle<'a>(status: &'a Status, broker: &str) -> Result<&'a BrokerHandle, End> {
    let found = status.brokers.iter().find(|(id, _)| id.as_str() == broker);
    found.map(|(_, handle)| handle).ok_or_else(|| {
        let names: Vec<&str> = status.brokers.keys().map(|id| id.as_str()).collect();
        End::Failed(format!("no broker is called `{broker}`; there are: {}", names.join(", ")))
    })
}

/// The dead letters that are meant, by broker.
async fn chosen(
    status: &Status,
    choice: &LetterChoice,
) -> Result<BTreeMap<String, Vec<DeadLetter>>, AnswerError> {
    let mut chosen = BTreeMap::<String, Vec<DeadLetter>>::new();
    let mut after = Some(0);
    while let Some(id) = after {
        let page = status.spool.dead(id, LETTERS).await?;
        for letter in page.letters.into_iter().filter(|letter| choice.takes(letter)) {
            chosen.entry(letter.broker.clone()).or_default().push(letter);
        }
        after = page.next_after;
    }
    Ok(chosen)
}
