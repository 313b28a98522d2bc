//! Which command is asked for when, and of which device.

use std::time::Duration;

use proto::{Instant, Rng, Timestamp};

use crate::payload::{json_value, quoted};
use crate::scenario::stream_seed;
use crate::signal::{Generator, Signal};

/// The most commands of a run; a run in which there would be more asks for no further one.
pub const MAX_COMMANDS: u64 = 1_000_000;

/// What a run asks for.
#[derive(Clone, Debug)]
pub struct CommandPlan {
    /// The topics of the gateway: `PREFIX/ID`.
    pub root: String,
    /// Each kind of request.
    pub sends: Vec<SendPlan>,
}

/// Requests of one kind: one at a time, to one device of the fleet after the other.
#[derive(Clone, Debug)]
pub struct SendPlan {
    /// The fleet.
    pub fleet: String,
    /// The names of its devices.
    pub devices: Vec<String>,
    /// What they are to do.
    pub operation: String,
    /// The values, with so many digits after the point.
    pub value: Option<(Signal, u8)>,
    /// From one request to the next, whichever device it is for; the first comes after this time.
    pub every: Duration,
    /// How long each may take, where that is not what the gateway says.
    pub deadline: Option<Duration>,
}

/// A request to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What the command is known by.
    pub id: String,
    /// Whose it is.
    pub device: String,
    /// Where it goes.
    pub topic: String,
    /// What is published there.
    pub payload: String,
}

/// The requests of a run in their order. Ask for those that are due with [`poll_request`](Self::poll_request)
/// whenever [`poll_timeout`](Self::poll_timeout) has come.
#[derive(Debug)]
pub struct Requests {
    root: String,
    prefix: String,
    streams: Vec<Stream>,
    numbered: u64,
}

#[derive(Debug)]
struct Stream {
    send: SendPlan,
    values: Option<Generator>,
    due: Instant,
    /// The device that is next.
    next: usize,
}

impl CommandPlan {
    /// A topic for requests, and a payload that is none: a gateway that takes commands refuses it.
    pub fn probe(&self) -> Option<(String, &'static str)> {
        let send = self.sends.first()?;
        let topic = topic(&self.root, send.devices.first()?, &send.operation);
        Some((topic, "device-sim: does anybody take commands?"))
    }
}

impl Requests {
    /// Those of `plan`, drawn from `seed`, in a run that began at `start`.
    pub fn new(plan: &CommandPlan, seed: u64, start: Timestamp) -> Self {
        let streams = (0_u32..).zip(&plan.sends).map(|(index, send)| {
            let mut seeds = Rng::new(stream_seed(seed, &send.operation, index));
            let devices = u64::try_from(send.devices.len()).unwrap_or(u64::MAX);
            let first = usize::try_from(seeds.below(devices.max(1))).unwrap_or_default();
            let values = send.value.clone();
            let values =
                values.map(|(signal, digits)| Generator::new(signal, digits, seeds.next_u64()));
            Stream { send: send.clone(), values, due: Instant::ZERO + send.every, next: first }
        });
        Self {
            root: plan.root.clone(),
            prefix: format!("c-{seed}-{:x}", start.as_millis()),
            streams: streams.collect(),
            numbered: 0,
        }
    }

    /// When the next one is due.
    pub fn poll_timeout(&self) -> Instant {
        if self.numbered >= MAX_COMMANDS {
            return Instant::FAR_FUTURE;
        }
        self.streams.iter().map(|stream| stream.due).min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// The next that is due.
    pub fn poll_request(&mut self, now: Instant) -> Option<Request> {
        if self.poll_timeout() > now {
            return None;
        }
        let stream = self.streams.iter_mut().min_by_key(|stream| stream.due)?;
        let Stream { send, values, due, next } = stream;
        let device = send.devices.get(*next)?.clone();
        *next = (*next + 1) % send.devices.len();
        let id = format!("{}-{}", self.prefix, self.numbered);
        self.numbered += 1;
        let mut payload = format!("{{\"id\":{}", quoted(&id));
        if let Some(values) = values {
            payload.push_str(&format!(",\"value\":{}", json_value(&values.sample(*due))));
        }
        if let Some(deadline) = send.deadline {
            payload.push_str(&format!(",\"deadline\":\"{}ms\"", deadline.as_millis()));
        }
        payload.push('}');
        *due = *due + send.every;
        let topic = topic(&self.root, &device, &send.operation);
        Some(Request { id, device, topic, payload })
    }
}

fn topic(root: &str, device: &str, operation: &str) -> String {
    format!("{root}/command/{}/{}", level(device), level(operation))
}

/// A name as a level of a topic, as `docs/topics.md` has it.
fn level(name: &str) -> String {
    let mut level = String::new();
    for character in name.chars() {
        match character {
            '/' | '+' | '#' | '%' => level.push_str(&format!("%{:02X}", u32::from(character))),
            other => level.push(other),
        }
    }
    level
}

#[cfg(test)]
mod tests {
    use proto::Value;
    use serde_json::{Value as Json, json};

    use super::*;

    fn send(operation: &str, every: u64) -> SendPlan {
        SendPlan {
            fleet: "n".to_owned(),
            devices: ["1", "2", "a/b"].map(str::to_owned).into(),
            operation: operation.to_owned(),
            value: Some((Signal::Constant(Value::Boolean(true)), 0)),
            every: Duration::from_millis(every),
            deadline: Some(Duration::from_secs(4)),
        }
    }

    fn requests(seed: u64) -> Requests {
        let sends = vec![send("relay", 100), send("level", 250)];
        let plan = CommandPlan { root: "site/gw".to_owned(), sends };
        Requests::new(&plan, seed, Timestamp::from_nanos(16_000_000))
    }

    fn until(requests: &mut Requests, millis: u64) -> Vec<Request> {
        let now = Instant::from_micros(millis * 1000);
        std::iter::from_fn(|| requests.poll_request(now)).collect()
    }

    #[test]
    fn devices_have_their_turns_and_ids_are_never_the_same() {
        let mut asked = requests(7);
        assert_eq!(asked.poll_timeout(), Instant::from_micros(100_000));
        assert_eq!(until(&mut asked, 99), []);
        let all = until(&mut asked, 1000);
        assert_eq!(all.len(), 14);
        for (number, request) in all.iter().enumerate() {
            assert_eq!(request.id, format!("c-7-10-{number}"));
        }
        let relays: Vec<_> = all.iter().filter(|it| it.topic.ends_with("/relay")).collect();
        for three in relays.chunks_exact(3) {
            let mut devices: Vec<_> = three.iter().map(|request| &*request.device).collect();
            devices.sort_unstable();
            assert_eq!(devices, ["1", "2", "a/b"]);
        }
        let request = all.iter().find(|request| request.device == "a/b").unwrap();
        assert!(request.topic.starts_with("site/gw/command/a%2Fb/"), "{}", request.topic);
        let expected = json!({ "id": request.id, "value": true, "deadline": "4000ms" });
        assert_eq!(serde_json::from_str::<Json>(&request.payload).unwrap(), expected);
    }

    #[test]
    fn a_seed_decides_who_is_first() {
        assert_eq!(until(&mut requests(7), 1000), until(&mut requests(7), 1000));
        let first = |seed| until(&mut requests(seed), 100).remove(0).device;
        assert!((0..20).any(|seed| first(seed) != first(7)));
    }

    #[test]
    fn there_is_an_end_to_how_many_are_asked_for() {
        let mut asked = requests(7);
        asked.numbered = MAX_COMMANDS - 1;
        assert_eq!(until(&mut asked, 1000).len(), 1);
        assert_eq!(asked.poll_timeout(), Instant::FAR_FUTURE);
    }
}
