//! What a message from a broker asks for: the topics of docs/topics.md, and what is in them.

use std::time::Duration;

use serde::Deserialize;

use super::command::{Failure, Priority};
use crate::config::{Id, Interval};
use crate::pipeline::{decode_level, push_level};

/// Longest identifier of a command.
pub(crate) const MAX_ID: usize = 64;
/// Longest Correlation Data, and longest Response Topic, that are kept.
const MAX_CORRELATION: usize = 256;
const MAX_REPLY_TOPIC: usize = 1024;
/// Longest name of a device.
const MAX_DEVICE: usize = 256;

/// The gateway's own topics for commands.
#[derive(Clone, Debug)]
pub(crate) struct CommandTopics {
    /// `{topic_prefix}/{gateway}`
    root: String,
}

/// What arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    /// Whether the broker had kept it.
    pub(crate) retain: bool,
    /// Of MQTT 5.
    pub(crate) response_topic: Option<String>,
    /// Of MQTT 5.
    pub(crate) correlation: Option<Vec<u8>>,
    /// How long it is worth something (Message Expiry Interval of MQTT 5).
    pub(crate) expiry: Option<Duration>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    /// That something is done.
    Submit(Submitted),
    /// That something is not done any more.
    Cancel { device: String, id: String },
}

/// A command as it was asked for; nothing of it is checked but its form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Submitted {
    /// A device, a group, or a pattern for names of devices.
    pub(crate) device: String,
    pub(crate) operation: String,
    /// Without one the gateway gives it one, and the same request again is another command.
    pub(crate) id: Option<String>,
    pub(crate) value: Given,
    /// How long it may take.
    pub(crate) within: Option<Duration>,
    pub(crate) priority: Priority,
    /// Whether it came by the topic of a writable value.
    pub(crate) is_set: bool,
}

/// The value of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Given {
    /// A payload that is nothing but the value.
    Plain(Vec<u8>),
    /// A value in JSON; `None` where there is none.
    Json(Option<serde_json::Value>),
}

/// The object in the payload of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    id: Option<String>,
    value: Option<serde_json::Value>,
    deadline: Option<String>,
    #[serde(default)]
    priority: Priority,
}

impl CommandTopics {
    /// Those of a gateway.
    pub(crate) fn new(prefix: &Id, gateway: &Id) -> Self {
        Self { root: format!("{prefix}/{gateway}") }
    }

    /// What is to be subscribed.
    pub(crate) fn filters(&self) -> [String; 3] {
        let root = &self.root;
        [format!("{root}/command/#"), format!("{root}/cancel/+/+"), format!("{root}/+/+/set")]
    }

    /// Where the states of a command are published.
    pub(crate) fn response(&self, device: &str, id: &str) -> String {
        let mut topic = format!("{}/response/", self.root);
        push_level(&mut topic, device);
        topic.push('/');
        push_level(&mut topic, id);
        topic
    }

    /// Where it is told why a request could not be taken as one.
    pub(crate) fn refused(&self) -> String {
        format!("{}/refused", self.root)
    }

    /// Where the plain value of a device is set.
    pub(crate) fn set(&self, device: &str, operation: &str) -> String {
        let mut topic = format!("{}/", self.root);
        push_level(&mut topic, device);
        topic.push('/');
        push_level(&mut topic, operation);
        topic.push_str("/set");
        topic
    }

    /// Whether a message to this topic would come back as a request.
    fn is_own(&self, topic: &str) -> bool {
        let rest = topic.strip_prefix(&self.root).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| {
            rest.starts_with("command/") || rest.starts_with("cancel/") || rest.ends_with("/set")
        })
    }

    /// What a message asks for, or why it asks for nothing.
    pub(crate) fn parse(&self, arrived: &Arrived) -> Result<Request, Failure> {
        let topic = &arrived.topic;
        let rest = topic.strip_prefix(&self.root).and_then(|rest| rest.strip_prefix('/'));
        let levels: Vec<&str> = rest.unwrap_or_default().split('/').collect();
        let refuse = |code, detail: String| Err(Failure::new(code, detail));
        if arrived.retain {
            // It would come again with each connection.
            return refuse(
                "retained",
                "a request must not be retained: publish it without `retain`".to_owned(),
            );
        }
        if let Some(reply) = &arrived.response_topic
            && (reply.len() > MAX_REPLY_TOPIC
                || reply.contains(['+', '#'])
                || reply.starts_with('$')
                || reply.is_empty()
                || self.is_own(reply))
        {
            return refuse("response_topic", format!("`{reply}` is no topic to answer to"));
        }
        if arrived.correlation.as_ref().is_some_and(|data| data.len() > MAX_CORRELATION) {
            return refuse(
                "correlation",
                format!("Correlation Data has more than {MAX_CORRELATION} bytes"),
            );
        }
        let given = match levels.as_slice() {
            ["command", device, operation] => self.envelope(arrived, device, operation),
            ["command", device, operation, id] => {
                let plain = Given::Plain(arrived.payload.clone());
                submitted(arrived, device, operation, plain)
                    .map(|request| Submitted { id: decode_level(id), ..request })
            }
            ["cancel", device, id] => {
                let (Some(device), Some(id)) = (decode_level(device), decode_level(id)) else {
                    return refuse(
                        "topic",
                        format!("`{topic}` has a `%` without two digits behind it"),
                    );
                };
                return Ok(Request::Cancel { device, id });
            }
            [device, operation, "set"] => {
                let plain = Given::Plain(arrived.payload.clone());
                submitted(arrived, device, operation, plain)
                    .map(|request| Submitted { is_set: true, ..request })
            }
            _ => {
                let detail = format!(
                    "`{topic}` is none of {0}/command/DEVICE/OPERATION, {0}/command/DEVICE/OPERATION/ID, \
                     {0}/DEVICE/OPERATION/set and {0}/cancel/DEVICE/ID",
                    self.root
                );
                return refuse("topic", detail);
            }
        };
        let mut request = given?;
        if request.id.is_none() {
            request.id = arrived.correlation.as_deref().filter(|data| !data.is_empty()).map(id_of);
        }
        match &request.id {
            Some(id) if !is_id(id) => refuse(
                "id",
                format!(
                    "an id has 1 to {MAX_ID} letters, digits and -._:@, and `{}` is none",
                    start(id)
                ),
            ),
            _ => Ok(Request::Submit(request)),
        }
    }

    fn envelope(
        &self,
        arrived: &Arrived,
        device: &str,
        operation: &str,
    ) -> Result<Submitted, Failure> {
        let refuse = |detail: String| Failure::new("payload", detail);
        let envelope: Envelope = serde_json::from_slice(&arrived.payload).map_err(|error| {
            refuse(format!(
                "expected JSON such as {{\"id\":\"42\",\"value\":21.5,\"deadline\":\"30s\"}}, or the plain \
                 value at {}/command/DEVICE/OPERATION/ID: {error}",
                self.root
            ))
        })?;
        let Envelope { id, value, deadline, priority } = envelope;
        let within = deadline.map(|text| {
            let interval: Result<Interval, _> = text.parse();
            interval.map(Interval::duration).map_err(|why| refuse(format!("`deadline`: {why}")))
        });
        let request = submitted(arrived, device, operation, Given::Json(value))?;
        let within = match (within.transpose()?, request.within) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Ok(Submitted { id, within, priority, ..request })
    }
}

fn submitted(
    arrived: &Arrived,
    device: &str,
    operation: &str,
    value: Given,
) -> Result<Submitted, Failure> {
    let (Some(device), Some(operation)) = (decode_level(device), decode_level(operation)) else {
        let topic = &arrived.topic;
        return Err(Failure::new(
            "topic",
            format!("`{topic}` has a `%` without two digits behind it"),
        ));
    };
    if device.is_empty() || device.len() > MAX_DEVICE || operation.is_empty() {
        return Err(Failure::new("topic", "the topic names no device, or no operation"));
    }
    let (within, priority) = (arrived.expiry, Priority::default());
    Ok(Submitted { device, operation, id: None, value, within, priority, is_set: false })
}

/// Whether it can be the identifier of a command.
pub(crate) fn is_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:@".contains(&byte);
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(is_plain)
}

/// The identifier of a command that has none but its Correlation Data.
fn id_of(correlation: &[u8]) -> String {
    match std::str::from_utf8(correlation) {
        Ok(text) if is_id(text) => text.to_owned(),
        _ => {
            let mut id = String::from("x");
            // Two that begin alike are told apart by the sum of all.
            for byte in correlation.iter().take(24) {
                id.push_str(&format!("{byte:02x}"));
            }
            id.push_str(&format!("{:08x}", crc32fast::hash(correlation)));
            id
        }
    }
}

fn start(text: &str) -> String {
    text.chars().take(MAX_ID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> CommandTopics {
        CommandTopics::new(&"site".parse().unwrap(), &"gw-1".parse().unwrap())
    }

    fn arrived(topic: &str, payload: &str) -> Arrived {
        Arrived {
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_vec(),
            ..Arrived::default()
        }
    }

    fn request(topic: &str, payload: &str) -> Submitted {
        match topics().parse(&arrived(topic, payload)) {
            Ok(Request::Submit(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(arrived: &Arrived) -> Failure {
        topics().parse(arrived).unwrap_err()
    }

    #[test]
    fn an_object_has_everything_by_name() {
        let payload = r#"{"id":"42","value":21.50,"deadline":"30s","priority":"high"}"#;
        let request = request("site/gw-1/command/valve-1/setpoint", payload);
        assert_eq!((request.device.as_str(), request.operation.as_str()), ("valve-1", "setpoint"));
        assert_eq!(request.id.as_deref(), Some("42"));
        assert_eq!(request.within, Some(Duration::from_secs(30)));
        assert_eq!(request.priority, Priority::High);
        assert!(matches!(request.value, Given::Json(Some(_))));
    }

    #[test]
    fn a_plain_value_has_its_identifier_in_the_topic_or_none() {
        let one = request("site/gw-1/command/valve-1/setpoint/42", "21.5");
        assert_eq!(one.id.as_deref(), Some("42"));
        assert_eq!(one.value, Given::Plain(b"21.5".to_vec()));
        let set = request("site/gw-1/valve%2F1/setpoint/set", "21.5");
        assert_eq!((set.device.as_str(), set.id, set.is_set), ("valve/1", None, true));
    }

    #[test]
    fn correlation_data_stands_for_an_identifier() {
        let with = |data: &[u8]| {
            let correlation = Some(data.to_vec());
            let arrived = Arrived { correlation, ..arrived("site/gw-1/command/a/b", "{}") };
            match topics().parse(&arrived) {
                Ok(Request::Submit(request)) => request.id.unwrap(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(with(b"job-7"), "job-7");
        assert_ne!(with(&[0, 1]), with(&[0, 2]));
        assert_ne!(with(&[7; 40]), with(&[7; 41]), "what is cut is told apart");
        assert!(is_id(&with(&[0xff; 200])));
    }

    #[test]
    fn what_is_no_request_is_told_why() {
        let cases = [
            (arrived("site/gw-1/command/a", "{}"), "topic"),
            (arrived("site/gw-1/command/a/b", "on"), "payload"),
            (arrived("site/gw-1/command/a/b", r#"{"valeu":1}"#), "payload"),
            (arrived("site/gw-1/command/a/b", r#"{"deadline":"soon"}"#), "payload"),
            (arrived("site/gw-1/command/a/b/c d", "1"), "id"),
            (arrived("site/gw-1/command/%4/b/1", "1"), "topic"),
            (Arrived { retain: true, ..arrived("site/gw-1/command/a/b/1", "1") }, "retained"),
        ];
        for (arrived, code) in cases {
            assert_eq!(refusal(&arrived).code, code, "{arrived:?}");
        }
    }

    #[test]
    fn an_answer_cannot_be_made_another_request() {
        for reply in ["site/gw-1/command/a/b", "site/gw-1/a/b/set", "app/+", "$SYS/x", ""] {
            let response_topic = Some(reply.to_owned());
            let arrived = Arrived { response_topic, ..arrived("site/gw-1/command/a/b/1", "1") };
            assert_eq!(refusal(&arrived).code, "response_topic", "{reply}");
        }
    }

    #[test]
    fn a_cancellation_names_the_command() {
        let cancel = topics().parse(&arrived("site/gw-1/cancel/valve-1/42", "")).unwrap();
        assert_eq!(cancel, Request::Cancel { device: "valve-1".to_owned(), id: "42".to_owned() });
    }
}
