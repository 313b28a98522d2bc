//! `gateway forget`

use clap::Args;
use serde_json::Value;

use super::run::block_on;
use super::status::NoGateway;
use super::{ConfigArgs, Output, complain, complain_of};
use crate::config::Id;
use crate::control::ask_to_forget;
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct Arguments {
    /// The broker's name, as `gateway status` shows it
    broker: Id,
}

/// The gateway did not do it.
#[derive(Debug, thiserror::Error)]
enum ForgetError {
    #[error(
        "the store keeps nothing of a broker `{0}` that is not configured; see `gateway status`"
    )]
    Unknown(Id),
    #[error("cannot forget `{0}`: {1}")]
    Failed(Id, String),
}

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Exit {
    let loaded = match config.load() {
        Ok(loaded) => loaded,
        Err(report) => return complain(&report),
    };
    let state_dir = &loaded.config.gateway.state_dir;
    let broker = &arguments.broker;
    let answer = match block_on(ask_to_forget(state_dir, broker)).and_then(|answer| answer) {
        Ok(answer) => answer,
        Err(error) => {
            complain_of(&NoGateway(state_dir.display().to_string(), error));
            return Exit::Unreachable;
        }
    };
    let error = answer.get("error").and_then(Value::as_str);
    match (answer.get("forgotten").and_then(Value::as_bool), error) {
        (Some(true), _) => Output::lock().finish(&format!("{broker} is forgotten\n"), Exit::Ok),
        (Some(false), _) => {
            complain_of(&ForgetError::Unknown(broker.clone()));
            Exit::Failure
        }
        (None, error) => {
            let why = error.unwrap_or("it did not say why").to_owned();
            complain_of(&ForgetError::Failed(broker.clone(), why));
            Exit::Failure
        }
    }
}
