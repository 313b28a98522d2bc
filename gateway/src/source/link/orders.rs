//! Orders for nodes: one future for each, so that a node that does not answer holds up nobody.
//!
//! An order waits until its node is there. It is begun under the number that its CMD has, which is on disk
//! before the CMD is sent: after any end of the gateway the same CMD is sent under the same number, and a
//! node that has carried it out only answers again. What that cannot tell, because the node has started
//! again meanwhile, fails with `unknown_outcome`, unless the operation is said to be `repeatable`.
//!
//! There are no more orders at a time than the desk keeps, and one for each device.

use std::fmt::Display;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use proto::link::{Argument, Call, CommandError, CommandNumber, CommandOutcome, MAX_PAYLOAD};
use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;

use super::calls::{Caller, HubEnded, Reach, Sent, Slot};
use super::download::send_file;
use super::payload::{Refusal, outcome};
use crate::commands::{Order, Orders};
use crate::config::Via;

/// How an order ends.
pub(super) enum End {
    Done(Option<Json>),
    Failed(Refusal),
    Unreachable(Refusal),
    /// It does not stand any more, or the gateway stops.
    Void,
}

/// Carries orders out until `stop` is cancelled.
pub(super) async fn carry_out(mut orders: Orders, caller: Caller, stop: CancellationToken) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(order) = orders.recv() => under_way.push(Box::pin(carry(order, caller.clone()))),
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
        }
    }
}

async fn carry(order: Order, caller: Caller) {
    let end = tokio::select! {
        () = order.withdrawn() => return,
        end = act(&order, &caller) => end,
    };
    match end {
        Ok(End::Done(result)) => order.done(result).await,
        Ok(End::Failed((code, detail))) => order.failed(code, detail).await,
        Ok(End::Unreachable((code, detail))) => order.unreachable(code, detail).await,
        Ok(End::Void) | Err(HubEnded) => {}
    }
}

async fn act(order: &Order, caller: &Caller) -> Result<End, HubEnded> {
    match &order.operation.via {
        Via::Link(via) => call(order, via.code, caller).await,
        Via::File(via) => send_file(order, via, caller).await,
        // A configuration that says so is refused before.
        Via::Coap(_) | Via::Fetch | Via::Send(_) | Via::Modbus(_) => {
            Ok(failed("no_way", "a node of the link protocol cannot be told in this way"))
        }
    }
}

/// A CMD and its RSP.
async fn call(order: &Order, code: u16, caller: &Caller) -> Result<End, HubEnded> {
    let argument = order.value.clone().map_or(Argument::None, Argument::Value);
    let Some(payload) = (Call { code, argument, id: order.id().to_owned() }).encode() else {
        return Ok(failed("value", "the number has more digits than a CMD can say"));
    };
    if payload.len() > MAX_PAYLOAD {
        return Ok(failed("too_long", format!("a CMD has at most {MAX_PAYLOAD} bytes of payload")));
    }
    let mut kept = order.mark.as_deref().and_then(parse_mark);
    loop {
        let Slot { device, number: next } = reach(order, caller).await?;
        let number = match kept {
            Some(kept) if kept.epoch == next.epoch => kept,
            Some(_) if !may_be_done_twice(order) => return Ok(lost()),
            Some(_) | None => next,
        };
        if !order.begin_as(mark(number)).await {
            return Ok(End::Void);
        }
        let slot = Slot { device, number };
        match caller.send(slot, payload.clone(), order.deadline).await? {
            Ok(CommandOutcome::Answered(payload)) => {
                return Ok(match outcome(&payload) {
                    Ok(result) => End::Done(result),
                    Err(refusal) => End::Failed(refusal),
                });
            }
            Ok(CommandOutcome::Restarted) if may_be_done_twice(order) => {
                let why = "the node started again before it answered".to_owned();
                return Ok(End::Unreachable(("restarted", why)));
            }
            Ok(CommandOutcome::Restarted) => return Ok(lost()),
            Err(CommandError::Passed) if kept == Some(number) => {
                if !may_be_done_twice(order) {
                    return Ok(lost());
                }
                kept = None;
            }
            other => {
                if let Some(end) = not_sent(&other) {
                    return Ok(end);
                }
            }
        }
    }
}

/// Waits until the device of an order can be sent a command.
pub(super) async fn reach(order: &Order, caller: &Caller) -> Result<Slot, HubEnded> {
    match caller.reach(order.device()).await? {
        Reach::Here(slot) => Ok(slot),
        Reach::Away(here) => {
            order.waiting("away", "the node has not said HELLO").await;
            here.await.map_err(|_| HubEnded)
        }
    }
}

/// The end of an order after a CMD that was not answered, or none where it can be sent anew.
pub(super) fn not_sent(sent: &Sent) -> Option<End> {
    match sent {
        Ok(CommandOutcome::TimedOut) => {
            let why = "the node has not answered in time".to_owned();
            Some(End::Unreachable(("no_answer", why)))
        }
        Err(why @ (CommandError::TooLong | CommandError::Exhausted)) => {
            Some(failed("not_sent", why))
        }
        Ok(CommandOutcome::Answered(_) | CommandOutcome::Restarted)
        | Err(CommandError::Unreachable | CommandError::Busy | CommandError::Passed) => None,
    }
}

pub(super) fn failed(code: &'static str, detail: impl Display) -> End {
    End::Failed((code, detail.to_string()))
}

/// Its number has told a node that a command is the same, and that number is gone.
fn lost() -> End {
    let detail =
        "it was sent, and the node has started again since: nobody knows whether it was done";
    failed("unknown_outcome", detail)
}

/// Whether the operator says so; by itself no operation of a node is.
fn may_be_done_twice(order: &Order) -> bool {
    order.operation.repeatable == Some(true)
}

fn mark(number: CommandNumber) -> String {
    format!("{} {}", number.epoch, number.number)
}

fn parse_mark(mark: &str) -> Option<CommandNumber> {
    let (epoch, number) = mark.split_once(' ')?;
    Some(CommandNumber { epoch: epoch.parse().ok()?, number: number.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back() {
        let number = CommandNumber { epoch: u32::MAX, number: 17 };
        assert_eq!(parse_mark(&mark(number)), Some(number));
        assert_eq!(parse_mark("3"), None);
        assert_eq!(parse_mark("3 x"), None);
    }
}
