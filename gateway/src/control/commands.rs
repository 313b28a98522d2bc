//! Commands of somebody on this machine.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Answer, AnswerError, End};
use crate::commands::{CommandsHandle, Given, Priority, Submitted, is_id, response};
use crate::config::Interval;
use crate::status::Status;

/// Most commands that are listed.
const MAX_LISTED: usize = 10_000;

/// A command, as somebody on this machine asks for it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SendRequest {
    /// A device, a group, or a pattern for names of devices.
    pub(crate) device: String,
    pub(crate) operation: String,
    /// Without one the gateway gives it one.
    pub(crate) id: Option<String>,
    /// The plain value.
    pub(crate) value: Option<String>,
    /// How long it may take.
    pub(crate) deadline: Option<Interval>,
    pub(crate) priority: Priority,
}

const NOT_CONFIGURED: &str = "no commands are taken: add a table [commands] to the configuration";

/// Carries a command out: its states, one a line, until the last.
pub(super) async fn send(
    answer: &mut Answer,
    status: &Status,
    request: &SendRequest,
) -> Result<End, AnswerError> {
    let Some(commands) = &status.commands else {
        return Ok(End::Failed(NOT_CONFIGURED.to_owned()));
    };
    if request.id.as_deref().is_some_and(|id| !is_id(id)) {
        return Ok(End::Failed("an id has 1 to 64 letters, digits and -._:@".to_owned()));
    }
    let value = request.value.clone().unwrap_or_default().into_bytes();
    let submitted = Submitted {
        device: request.device.clone(),
        operation: request.operation.clone(),
        id: request.id.clone(),
        value: Given::Plain(value),
        within: request.deadline.map(Interval::duration),
        priority: request.priority,
        is_set: false,
    };
    let Ok(mut states) = commands.submit(submitted).await else { return Ok(stopping()) };
    let mut is_over = false;
    while let Some(state) = states.recv().await {
        is_over |= matches!(
            state.get("state").and_then(Value::as_str),
            Some("done" | "failed" | "expired")
        );
        answer.line(&state)?;
        answer.send().await?;
    }
    match is_over {
        true => Ok(End::Complete),
        // Its id is that of another command, or the gateway stops.
        false => Ok(End::Failed(
            "the id is that of another command, or the gateway is stopping".to_owned(),
        )),
    }
}

/// Cancels a command: its state then, on one line.
pub(super) async fn cancel(
    answer: &mut Answer,
    status: &Status,
    device: &str,
    id: &str,
) -> Result<End, AnswerError> {
    let Some(commands) = &status.commands else {
        return Ok(End::Failed(NOT_CONFIGURED.to_owned()));
    };
    match commands.cancel(device, id).await {
        Ok(Some(state)) => {
            answer.line(&state)?;
            Ok(End::Complete)
        }
        Ok(None) => Ok(End::Failed(format!("there is no command {id} for {device}"))),
        Err(_) => Ok(stopping()),
    }
}

/// The newest commands with their last states, one a line.
pub(super) async fn list(
    answer: &mut Answer,
    status: &Status,
    device: Option<&str>,
    most: usize,
) -> Result<End, AnswerError> {
    let Some(commands) = &status.commands else {
        return Ok(End::Failed(NOT_CONFIGURED.to_owned()));
    };
    let newest = commands.newest(device.map(str::to_owned), most.min(MAX_LISTED)).await;
    match newest {
        Ok(Ok(newest)) => {
            for command in &newest {
                let Some(step) = command.steps.last() else { continue };
                answer.line(&response(status.gateway.as_str(), command, step, None))?;
                answer.send_if_much().await?;
            }
            Ok(End::Complete)
        }
        Ok(Err(why)) => Ok(End::Failed(why)),
        Err(_) => Ok(stopping()),
    }
}

/// What may be done with a device.
#[derive(Serialize)]
pub(super) struct OperationLine {
    name: String,
    /// What its value must be, in words.
    value: String,
    /// The topic that takes the plain value, where it is writable.
    set: Option<String>,
}

impl OperationLine {
    /// All of a device.
    pub(super) fn of(commands: Option<&CommandsHandle>, source: &str, device: &str) -> Vec<Self> {
        let of_device = |commands: &CommandsHandle| {
            let operations = commands.operations(source, device);
            let line = |(name, operation): (&crate::config::Id, &crate::config::Operation)| Self {
                name: name.to_string(),
                value: operation.value.to_string(),
                set: operation.writable.then(|| commands.topics().set(device, name.as_str())),
            };
            operations.map(line).collect()
        };
        commands.map(of_device).unwrap_or_default()
    }
}

fn stopping() -> End {
    End::Failed("the gateway is stopping".to_owned())
}
