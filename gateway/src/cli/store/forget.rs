//! `gateway store forget`

use std::path::PathBuf;

use clap::Args;

use super::place::{Place, ask_gateway, fail};
use crate::cli::{ConfigArgs, Output, complain_of};
use crate::control::{Forgotten, Request};
use crate::exit::Exit;

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The broker's name, as `gateway status` shows it
    broker: String,
}

/// Nothing was forgotten.
#[derive(Debug, thiserror::Error)]
enum ForgetError {
    #[error("no gateway uses {0}; start it, so that it can be told")]
    NotRunning(PathBuf),
    #[error(
        "the store keeps nothing of a broker `{0}` that is not configured; see `gateway status`"
    )]
    Unknown(String),
}

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Result<Exit, Exit> {
    let broker = &arguments.broker;
    let (state_dir, holder) = match Place::find(None, config)? {
        Place::Gateway { state_dir, holder } => (state_dir, holder),
        Place::File(file) => {
            complain_of(&ForgetError::NotRunning(file));
            return Err(Exit::Unreachable);
        }
    };
    let mut forgotten = false;
    let request = Request::Forget { broker: broker.clone() };
    ask_gateway(&state_dir, &holder, &request, |line| {
        let answer = serde_json::from_str(line);
        forgotten = answer.is_ok_and(|Forgotten { forgotten }| forgotten);
        true
    })?;
    match forgotten {
        true => Ok(Output::lock().finish(&format!("{broker} is forgotten\n"), Exit::Ok)),
        false => Err(fail(&ForgetError::Unknown(broker.clone()))),
    }
}
