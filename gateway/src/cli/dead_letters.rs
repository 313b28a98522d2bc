//! `gateway dead-letters`

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::Value;

use super::store::place::{Place, ask_gateway};
use super::{ConfigArgs, Output, complain_of};
use crate::control::{LetterChoice, Request};
use crate::exit::Exit;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Show readings that a broker did not take, and why
    List(List),
    /// Send them again; those that arrive are deleted from the list
    Resend(Chosen),
    /// Delete them
    Drop(Chosen),
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    filter: Filter,
    /// Print each as a JSON object on a line of its own, with the whole reading
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Filter {
    /// Only those of this broker
    #[arg(long, value_name = "BROKER")]
    broker: Option<String>,
    /// Only the one with this identifier, as the list shows it; may be there several times
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<u64>,
}

/// Which ones; without any, nothing is meant by mistake.
#[derive(Args)]
#[group(skip)]
#[command(group(ArgGroup::new("which").args(["broker", "ids", "all"]).required(true).multiple(true)))]
pub(super) struct Chosen {
    #[command(flatten)]
    filter: Filter,
    /// All of them
    #[arg(long, conflicts_with_all = ["broker", "ids"])]
    all: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// The gateway has to run.
#[derive(Debug, thiserror::Error)]
#[error("no gateway uses {0}; start it, so that it can be asked")]
pub(super) struct NotRunning(pub(super) PathBuf);

pub(super) fn run(command: &Command, config: &ConfigArgs) -> Exit {
    let ended = match command {
        Command::List(list) => self::list(list, config),
        Command::Resend(chosen) => act(chosen, config, Request::LettersResend, resent),
        Command::Drop(chosen) => act(chosen, config, Request::LettersDrop, dropped),
    };
    ended.unwrap_or_else(|exit| exit)
}

impl Filter {
    fn choice(&self) -> LetterChoice {
        LetterChoice { broker: self.broker.clone(), ids: self.ids.iter().copied().collect() }
    }
}

fn list(arguments: &List, config: &ConfigArgs) -> Result<Exit, Exit> {
    let request = Request::Letters(arguments.filter.choice());
    let show = if arguments.json { str::to_owned } else { listed };
    print(config, &request, show)
}

fn act(
    chosen: &Chosen,
    config: &ConfigArgs,
    request: fn(LetterChoice) -> Request,
    words: fn(&Value) -> String,
) -> Result<Exit, Exit> {
    let show = |line: &str| match serde_json::from_str(line) {
        Ok(outcome) if !chosen.json => words(&outcome),
        _ => line.to_owned(),
    };
    print(config, &request(chosen.filter.choice()), show)
}

/// Asks the gateway and prints what `show` makes of each line.
pub(super) fn print(
    config: &ConfigArgs,
    request: &Request,
    show: impl Fn(&str) -> String,
) -> Result<Exit, Exit> {
    let (state_dir, holder) = match Place::find(None, config)? {
        Place::Gateway { state_dir, holder } => (state_dir, holder),
        Place::File(file) => {
            complain_of(&NotRunning(file));
            return Err(Exit::Unreachable);
        }
    };
    let mut output = Output::lock();
    let mut unwritten = None;
    let asked = ask_gateway(&state_dir, &holder, request, |line| {
        unwritten = output.show(show(line).as_bytes()).err();
        unwritten.is_none()
    });
    match unwritten {
        Some(exit) => Err(exit),
        None => asked.map(|()| output.finish("", Exit::Ok)),
    }
}

fn listed(line: &str) -> String {
    let letter: Value = serde_json::from_str(line).unwrap_or_default();
    let text = |pointer: &str| match letter.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    };
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{}  {}  {}: {} ({}), topic {}: {} {} = {}, n {}",
        text("/id"),
        text("/time"),
        text("/broker"),
        text("/reason"),
        text("/detail"),
        text("/topic"),
        text("/reading/device"),
        text("/reading/name"),
        text("/reading/value"),
        text("/reading/n"),
    );
    out
}

fn resent(outcome: &Value) -> String {
    let text = |key: &str| outcome.get(key).map_or_else(|| "-".to_owned(), Value::to_string);
    let broker = outcome.get("broker").and_then(Value::as_str).unwrap_or("-");
    let mut out = format!("{broker}: {} acknowledged", text("acknowledged"));
    for (key, words) in
        [("refused", "refused again"), ("unrouted", "that no route sends there any more")]
    {
        if outcome.get(key).and_then(Value::as_u64).is_some_and(|count| count > 0) {
            let _ = write!(out, ", {} {words}", text(key));
        }
    }
    out.push('\n');
    out
}

fn dropped(outcome: &Value) -> String {
    let broker = outcome.get("broker").and_then(Value::as_str).unwrap_or("-");
    format!("{broker}: {} deleted\n", outcome.get("dropped").unwrap_or(&Value::Null))
}
