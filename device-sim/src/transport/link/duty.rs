//! Commands at a node: what it makes of each, and what it notes of them.

use std::time::Duration;

use proto::link::{Argument, Call, FileReceiver, Reply, ReplyStatus};
use tokio_util::sync::CancellationToken;

use crate::command::{CommandManner, Obeys, SharedCommandLedger};

/// What all nodes of a run share that are told something.
#[derive(Clone, Debug, Default)]
pub struct Attendance {
    /// Where they note what they carry out.
    pub ledger: SharedCommandLedger,
    /// Until when they are there for commands, also after their last report.
    pub until: CancellationToken,
}

/// What a node makes of commands.
#[derive(Clone, Debug)]
pub struct Duty {
    /// How often it does not simply obey.
    pub obeys: Obeys,
    /// What that is drawn from.
    pub seed: u64,
    /// Who else is there.
    pub attendance: Attendance,
}

/// What follows from a command.
pub(super) enum Act {
    /// An answer.
    Answer(Reply),
    /// The same, later.
    Late(Reply, Duration),
    /// It starts again.
    Die,
}

/// What the node `device` does with a command: it obeys, where no `duty` says otherwise.
pub(super) fn act(
    duty: Option<&Duty>,
    device: &str,
    files: &mut FileReceiver,
    payload: &[u8],
) -> Act {
    let Ok(Call { argument, id, .. }) = Call::decode(payload) else {
        return Act::Answer(Reply::of(ReplyStatus::BadValue));
    };
    let reply = match argument {
        Argument::None => Reply::default(),
        Argument::Value(value) => Reply::default().with(&value),
        about_files @ (Argument::Offer(_) | Argument::Block { .. }) => {
            return Act::Answer(files.handle_call(about_files));
        }
    };
    let Some(Duty { obeys, seed, attendance: Attendance { ledger, .. } }) = duty else {
        return Act::Answer(reply);
    };
    let manner = obeys.manner(*seed, &id, ledger.carried_out(device, &id));
    if manner == CommandManner::Refuse {
        return Act::Answer(Reply::of(ReplyStatus::Failed));
    }
    ledger.handle_carried_out(device, &id);
    match manner {
        CommandManner::Late(by) => Act::Late(reply, by),
        CommandManner::Die => Act::Die,
        CommandManner::Obey | CommandManner::Refuse => Act::Answer(reply),
    }
}
