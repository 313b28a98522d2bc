//! `device-sim expect`: waits for a message.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use device_sim::broker::topic;
use device_sim::scenario::values::{Address, BrokerAddress};
use device_sim::settings::Interval;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, SubscribeReasonCode};
use serde_json::Value;

use super::broker::read_password;
use super::{CommandError, MISSED};

/// How long the broker may take to accept the subscription.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The broker.
    #[arg(long, value_name = "URL", default_value = "mqtt://127.0.0.1:1883")]
    broker: BrokerAddress,
    /// The user name at the broker.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A file with that user's password; a line end behind it does not count.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// The topic; + and # stand for levels.
    #[arg(long)]
    topic: String,
    /// What a member of a payload as JSON has to be, such as device=th-1, value>=20 or a.b.0!=true;
    /// `payload=TEXT` compares all of it. Given more than once, a message has to meet all.
    #[arg(long = "match", value_name = "COMPARISON")]
    comparisons: Vec<Comparison>,
    /// How many such messages.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    count: u64,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    within: Interval,
    /// Whether messages count that the broker has retained.
    #[arg(long)]
    retained: bool,
}

/// Why nothing could be waited for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExpectError {
    #[error("cannot subscribe to `{topic}` at {broker}")]
    Unreachable { broker: Address, topic: String, source: Box<rumqttc::ConnectionError> },
    #[error("{broker} does not answer")]
    Silent { broker: Address },
    #[error("{broker} refuses the topic `{topic}`")]
    Refused { broker: Address, topic: String },
    #[error("cannot read the password from {}", path.display())]
    Password { path: PathBuf, source: io::Error },
    #[error("`{0}` is no topic")]
    Topic(String),
    #[error("a built-in broker has no messages to wait for; write mqtt://host:port")]
    BuiltIn,
}

impl ExpectError {
    /// Whether the broker is missing.
    pub(super) const fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Refused { .. } => true,
            Self::Password { .. } | Self::Topic(_) | Self::BuiltIn => false,
        }
    }
}

/// What a part of a message has to be.
#[derive(Clone, Debug, PartialEq)]
struct Comparison {
    path: Vec<String>,
    sign: Sign,
    wanted: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Equal,
    Different,
    AtLeast,
    AtMost,
    More,
    Less,
}

/// A longer sign comes before one that it begins with.
const SIGNS: [(&str, Sign); 6] = [
    ("!=", Sign::Different),
    (">=", Sign::AtLeast),
    ("<=", Sign::AtMost),
    ("=", Sign::Equal),
    (">", Sign::More),
    ("<", Sign::Less),
];

impl FromStr for Comparison {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = SIGNS.iter().filter_map(|(name, sign)| Some((text.find(name)?, *name, *sign)));
        let (at, name, sign) = found
            .min_by_key(|(at, name, _)| (*at, std::cmp::Reverse(name.len())))
            .ok_or("expected a comparison with =, !=, <, <=, > or >=, such as value>=20")?;
        let (path, rest) = text.split_at(at);
        if path.split('.').any(str::is_empty) {
            return Err("expected the name of a member before the sign, such as value>=20");
        }
        Ok(Self {
            path: path.split('.').map(str::to_owned).collect(),
            sign,
            wanted: rest.get(name.len()..).unwrap_or_default().to_owned(),
        })
    }
}

impl Comparison {
    /// Whether a payload is as it has to be; a member that is not there is different from all.
    fn holds(&self, payload: &[u8]) -> bool {
        let json: Option<Value> = serde_json::from_slice(payload).ok();
        let found = json.as_ref().and_then(|json| {
            self.path.iter().try_fold(json, |value, step| match value {
                Value::Array(elements) => elements.get(step.parse::<usize>().ok()?),
                Value::Object(members) => members.get(step),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
            })
        });
        let text = match found {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None if self.path == ["payload"] => String::from_utf8_lossy(payload).into_owned(),
            None => return self.sign == Sign::Different,
        };
        let numbers: (Option<f64>, Option<f64>) = (text.parse().ok(), self.wanted.parse().ok());
        let order = match numbers {
            (Some(found), Some(wanted)) => found.partial_cmp(&wanted),
            _ => Some(text.as_str().cmp(self.wanted.as_str())),
        };
        order.is_some_and(|order| match self.sign {
            Sign::Equal => order.is_eq(),
            Sign::Different => order.is_ne(),
            Sign::AtLeast => order.is_ge(),
            Sign::AtMost => order.is_le(),
            Sign::More => order.is_gt(),
            Sign::Less => order.is_lt(),
        })
    }
}

/// Waits for the messages; prints each that counts.
pub(super) async fn run(options: Options) -> Result<(), CommandError> {
    if !topic::is_valid_filter(&options.topic) {
        return Err(ExpectError::Topic(options.topic).into());
    }
    let BrokerAddress::At(address) = options.broker.clone() else {
        return Err(ExpectError::BuiltIn.into());
    };
    let id = format!("device-sim-{:016x}", getrandom::u64().unwrap_or_default());
    let mut mqtt = MqttOptions::new(id, address.host(), address.port());
    mqtt.set_clean_session(true).set_keep_alive(Duration::from_secs(30));
    if let Some(user) = options.user {
        let read = |path: PathBuf| match read_password(&path) {
            Ok(password) => Ok(String::from_utf8_lossy(&password).into_owned()),
            Err(source) => Err(ExpectError::Password { path, source }),
        };
        let password = options.password_file.map(read).transpose()?;
        mqtt.set_credentials(user, password.unwrap_or_default());
    }
    let (client, mut events) = AsyncClient::new(mqtt, 16);
    // It has room for one.
    let _ = client.try_subscribe(options.topic.clone(), QoS::AtLeastOnce);
    let mut is_subscribed = false;
    let mut seen = 0;
    let deadline = tokio::time::sleep(PATIENCE);
    tokio::pin!(deadline);
    while seen < options.count {
        let event = tokio::select! {
            event = events.poll() => event,
            () = &mut deadline => {
                if is_subscribed {
                    tell(&format!("{seen} of {} messages came", options.count));
                    return Err(CommandError::Told(MISSED));
                }
                return Err(ExpectError::Silent { broker: address }.into());
            }
        };
        let event = event.map_err(|source| ExpectError::Unreachable {
            broker: address.clone(),
            topic: options.topic.clone(),
            source: Box::new(source),
        })?;
        match event {
            Event::Incoming(Packet::SubAck(ack)) => {
                if !matches!(ack.return_codes.first(), Some(SubscribeReasonCode::Success(_))) {
                    let (broker, topic) = (address, options.topic);
                    return Err(ExpectError::Refused { broker, topic }.into());
                }
                is_subscribed = true;
                let now = tokio::time::sleep(options.within.duration());
                deadline.as_mut().set(now);
                tell("subscribed");
            }
            Event::Incoming(Packet::Publish(publish)) => {
                let counts = options.retained || !publish.retain;
                if counts && options.comparisons.iter().all(|one| one.holds(&publish.payload)) {
                    seen += 1;
                    let payload = String::from_utf8_lossy(&publish.payload);
                    let line = format!("{} {payload}\n", publish.topic);
                    io::stdout().lock().write_all(line.as_bytes()).map_err(CommandError::Print)?;
                }
            }
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
    }
    Ok(())
}

fn tell(text: &str) {
    // With stderr closed there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_look_at_members_as_numbers_or_text() {
        let payload = br#"{"device":"th-1","value":21.50,"ok":true,"list":[{"a":"x=y"}]}"#;
        let holds = |text: &str| text.parse::<Comparison>().unwrap().holds(payload);
        for text in [
            "device=th-1",
            "device!=th-2",
            "value=21.5",
            "value>=21.5",
            "value<100",
            "ok=true",
            "list.0.a=x=y",
            "none!=1",
            "payload!=x",
        ] {
            assert!(holds(text), "{text}");
        }
        for text in ["device=th", "value>21.5", "value<=21", "ok!=true", "none=1", "list.1.a=x"] {
            assert!(!holds(text), "{text}");
        }
        assert!("payload=online".parse::<Comparison>().unwrap().holds(b"online"));
        for wrong in ["device", "=5", "a..b=1", ""] {
            assert!(wrong.parse::<Comparison>().is_err(), "{wrong}");
        }
    }
}
