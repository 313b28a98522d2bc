//! Commands: from a broker down to a device, and the outcome back.
//!
//! The contract, topics and payloads, is docs/topics.md; what is promised over crashes docs/commands.md.
//!
//! ```text
//! broker/command_ears.rs    a request arrives
//! commands/request.rs       what its topic and payload say                                    pure
//! commands/desk.rs          may it, when, how often; what becomes of it                        pure
//!   desk/lane.rs            what waits for one device: order, priority, pauses                pure
//! commands/journal.rs       every command, on disk before anything comes of it
//! commands/order.rs         what a source is handed, and what it reports
//!   commands/mailbox.rs     orders for devices that ask for them                              pure
//! commands/response.rs      what is published of each state                                    pure
//! commands/task.rs          the loop around all of it
//! commands/handle.rs        what others hold of it: a way to ask, and what became of all
//! ```
//!
//! # States
//! `accepted` (it is on disk), `queued` (it waits: for the device, for its turn), `delivered` (the device
//! has it), and one of `done`, `failed` and `expired`, which is the last. Each change is in the journal
//! before anything comes of it, and is published through the store. A state that was not published when
//! the gateway ended is published after the next start.
//!
//! # Once
//! A source asks ([`Order::begin`]) before the first byte goes out, and that is on disk when it may. So
//! after any end of the process a command that was not begun is carried out, one that was begun and is
//! [repeatable](crate::config::Operation::is_repeatable) is carried out again, and any other fails with
//! `unknown_outcome`. What has ended is remembered: the same request again is answered with it.

mod command;
mod desk;
mod handle;
mod journal;
mod mailbox;
mod order;
mod request;
mod response;
mod task;

pub(crate) use command::Priority;
pub(crate) use desk::{DeskRules, Roster};
pub(crate) use handle::{CommandsHandle, CommandsReport};
pub(crate) use journal::{Journal, JournalError};
pub(crate) use mailbox::{Answered, Mailbox, Pending, Taken};
pub(crate) use order::{Order, OrderSender, Orders, order_queue};
pub(crate) use request::{Arrived, CommandTopics, Given, Submitted, is_id};
pub(crate) use response::{response, value_json};
pub(crate) use task::{CommandTask, HEARD};
