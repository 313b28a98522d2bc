//! What is published of a state of a command.

use std::collections::BTreeMap;

use proto::{Value, base64};
use serde_json::{Map, Value as Json, json};

use super::command::{Command, CommandState, Failure, Key, Step};
use crate::pipeline::rfc3339_text;

/// Most devices of a group that are listed with their states.
const MAX_LISTED: usize = 1000;

/// The object that says how far a command is.
pub(crate) fn response(
    gateway: &str,
    command: &Command,
    step: &Step,
    members: Option<&Members>,
) -> Json {
    let mut object = Map::new();
    let mut put = |name: &str, value: Json| object.insert(name.to_owned(), value);
    put("gateway", json!(gateway));
    put("device", json!(&*command.key.device));
    put("operation", json!(command.operation.as_str()));
    put("id", json!(&*command.key.id));
    put("state", json!(step.state.name()));
    put("time", json!(rfc3339_text(step.time)));
    if let Some(value) = &command.value {
        put("value", value_json(value));
    }
    if let Some(group) = &command.group {
        put("group", json!(&**group));
    }
    if let Some(result) = &step.result {
        put("result", result.clone());
    }
    if let Some(Failure { code, detail }) = &step.error {
        put("error", json!({ "code": code, "detail": detail }));
    }
    if let Some(members) = members.filter(|_| step.state.is_final()) {
        put("members", json!(members.counts()));
        put("devices", json!(members.listed()));
    }
    Json::Object(object)
}

/// The object that says why a request was not taken.
pub(crate) fn refusal(
    gateway: &str,
    topic: Option<&str>,
    key: Option<&Key>,
    failure: &Failure,
) -> Json {
    let mut object = Map::new();
    object.insert("gateway".to_owned(), json!(gateway));
    if let Some(topic) = topic {
        object.insert("topic".to_owned(), json!(topic));
    }
    if let Some(Key { device, id }) = key {
        object.insert("device".to_owned(), json!(&**device));
        object.insert("id".to_owned(), json!(&**id));
    }
    let Failure { code, detail } = failure;
    object.insert("error".to_owned(), json!({ "code": code, "detail": detail }));
    Json::Object(object)
}

/// A value as JSON has it; a number keeps its digits.
pub(crate) fn value_json(value: &Value) -> Json {
    match value {
        Value::Number(number) => {
            serde_json::from_str(&number.to_string()).unwrap_or_else(|_| json!(number.as_f64()))
        }
        Value::Boolean(value) => json!(value),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => {
            let mut text = String::new();
            base64::encode(bytes, &mut text);
            json!(text)
        }
    }
}

/// How the commands of a group ended.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Members(BTreeMap<std::sync::Arc<str>, CommandState>);

impl Members {
    /// One of them is this far.
    pub(crate) fn set(&mut self, device: &std::sync::Arc<str>, state: CommandState) {
        self.0.insert(std::sync::Arc::clone(device), state);
    }

    /// Whether so many have ended.
    pub(crate) fn all_ended(&self, members: usize) -> bool {
        self.0.values().filter(|state| state.is_final()).count() >= members
    }

    /// What that makes of the whole.
    pub(crate) fn outcome(&self) -> (CommandState, Option<Failure>) {
        let all = |state| self.0.values().all(|one| *one == state);
        if all(CommandState::Done) {
            return (CommandState::Done, None);
        }
        let (state, code) = match all(CommandState::Expired) {
            true => (CommandState::Expired, "deadline"),
            false => (CommandState::Failed, "partly"),
        };
        let counts = self.counts();
        let words: Vec<String> =
            counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
        (state, Some(Failure::new(code, words.join(", "))))
    }

    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for state in self.0.values() {
            *counts.entry(state.name()).or_insert(0) += 1;
        }
        counts
    }

    fn listed(&self) -> BTreeMap<&str, &'static str> {
        let all = self.0.iter().map(|(device, state)| (&**device, state.name()));
        all.take(MAX_LISTED).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::tests::{at, command};
    use super::*;

    #[test]
    fn a_response_says_what_was_asked_and_what_became_of_it() {
        let command = command("valve-1", "42");
        let step =
            Step { result: Some(json!({"position": 40})), ..Step::of(CommandState::Done, at(1)) };
        assert_eq!(
            response("gw-1", &command, &step, None),
            json!({
                "gateway": "gw-1", "device": "valve-1", "operation": "valve", "id": "42",
                "state": "done", "time": "1970-01-01T00:00:01.000Z", "value": true, "group": "north",
                "result": {"position": 40}
            })
        );
    }

    #[test]
    fn a_group_is_done_when_all_are_and_else_says_how_many() {
        let mut members = Members::default();
        members.set(&"a".into(), CommandState::Done);
        members.set(&"b".into(), CommandState::Queued);
        assert!(!members.all_ended(2));
        members.set(&"b".into(), CommandState::Done);
        assert!(members.all_ended(2));
        assert_eq!(members.outcome(), (CommandState::Done, None));
        members.set(&"c".into(), CommandState::Expired);
        let (state, failure) = members.outcome();
        assert_eq!(state, CommandState::Failed);
        assert_eq!(failure.unwrap().to_string(), "partly: 2 done, 1 expired");
    }
}
