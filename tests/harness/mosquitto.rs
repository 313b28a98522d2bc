//! Mosquitto from Debian, and its command line clients.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::clock::wait_for;
use super::process::{Lines, Running, program, run};
use super::temp::{TempDir, port};

pub(crate) const USER: &str = "greenhouse";
pub(crate) const PASSWORD: &str = "correct horse";
/// A retained message that tells a subscriber that it is subscribed.
pub(super) const READY: &str = "harness/ready";

/// A broker that wants a user and a password.
#[derive(Debug)]
pub(crate) struct Mosquitto {
    process: Running,
    log: Lines,
    port: u16,
    door: u16,
    dir: TempDir,
}

/// A client that writes down what it gets.
#[derive(Debug)]
pub(crate) struct Subscriber {
    _process: Running,
    lines: Lines,
}

/// A message as a subscriber got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) retained: bool,
    pub(crate) payload: Vec<u8>,
    /// Content Type, Payload Format Indicator, Message Expiry Interval, Response Topic and user
    /// properties, of a subscriber that speaks MQTT 5.
    pub(crate) properties: [String; 5],
}

impl Mosquitto {
    pub(crate) fn start() -> Self {
        Self::start_at(port(), "", &[])
    }

    /// With these lines of configuration, after which it can [start again](Self::restart) and knows
    /// what it knew; what it keeps, it keeps in its folder.
    pub(crate) fn start_keeping(config: &str) -> Self {
        Self::start_as(port(), config, "", &[])
    }

    /// With a second listener, [`door`](Self::door), that has these lines of configuration, and with
    /// these variables in its environment. What the harness itself does goes through the first one.
    pub(crate) fn start_with(door_lines: &str, env: &[(&str, &Path)]) -> Self {
        Self::start_at(port(), door_lines, env)
    }

    /// The same, on a port of the caller's choice.
    pub(crate) fn start_at(door: u16, door_lines: &str, env: &[(&str, &Path)]) -> Self {
        Self::start_as(door, "", door_lines, env)
    }

    fn start_as(door: u16, lines: &str, door_lines: &str, env: &[(&str, &Path)]) -> Self {
        let dir = TempDir::new();
        let passwords = dir.join("passwords");
        run(program("mosquitto_passwd", "mosquitto")
            .args(["-b", "-c"])
            .arg(&passwords)
            .args([USER, PASSWORD]));
        let port = port();
        // Started by root it would become another user, who cannot read the passwords.
        let mut config = format!(
            "user root\nmax_inflight_messages 0\nallow_anonymous false\npassword_file {}\n\
             persistence_location {}/\nlistener {port} 127.0.0.1\n{lines}\n",
            passwords.display(),
            dir.path().display()
        );
        if !door_lines.is_empty() {
            config.push_str(&format!("listener {door} 127.0.0.1\n{door_lines}\n"));
        }
        fs::write(dir.join("mosquitto.conf"), config).unwrap();
        let log = Lines::default();
        let process = Self::launch(&dir, env, &log);
        let mut mosquitto = Self { process, log, port, door, dir };
        mosquitto.wait_until_up();
        mosquitto
    }

    fn launch(dir: &TempDir, env: &[(&str, &Path)], log: &Lines) -> Running {
        let mut command = program("mosquitto", "mosquitto");
        command.arg("-c").arg(dir.join("mosquitto.conf")).envs(env.iter().copied());
        Running::start_reading(&mut command, log)
    }

    fn wait_until_up(&mut self) {
        wait_for("Mosquitto to answer", || {
            let running = self.process.is_running();
            assert!(running, "Mosquitto has ended: {}", self.log.text());
            self.publish_ready().then_some(())
        });
    }

    /// SIGTERM, on which it writes down what it keeps, and starts it again.
    pub(crate) fn restart(&mut self) {
        self.process.terminate();
        self.process.wait();
        self.start_again();
    }

    /// Starts it again after its end.
    pub(crate) fn start_again(&mut self) {
        self.process = Self::launch(&self.dir, &[], &self.log);
        self.wait_until_up();
    }

    /// The lines of its log with this text in them.
    pub(crate) fn logged(&self, text: &str) -> Vec<String> {
        self.log.since(0).into_iter().filter(|line| line.contains(text)).collect()
    }

    /// Publishes with these arguments of `mosquitto_pub`, at quality of service 1.
    pub(crate) fn publish(&self, topic: &str, payload: &str, arguments: &[&str]) {
        let mut command = program("mosquitto_pub", "mosquitto-clients");
        command.args(self.client()).args(["-q", "1", "-t", topic, "-m", payload]);
        run(command.args(arguments));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn publish_ready(&self) -> bool {
        let mut command = program("mosquitto_pub", "mosquitto-clients");
        command.args(self.client()).args(["-q", "1", "-r", "-t", READY, "-m", "1"]);
        command.stderr(Stdio::null()).status().unwrap().success()
    }

    fn client(&self) -> Vec<String> {
        let port = self.port.to_string();
        ["-h", "127.0.0.1", "-p", &port, "-u", USER, "-P", PASSWORD].map(str::to_owned).into()
    }

    /// The table of this broker in a configuration.
    pub(crate) fn table(&self, name: &str) -> String {
        self.table_at(name, self.address())
    }

    /// The same for a detour that leads to it.
    pub(crate) fn table_at(&self, name: &str, address: SocketAddr) -> String {
        table_of(name, &format!("\"mqtt://{address}\""))
    }

    /// The address without TLS.
    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.address())
    }

    /// The port of the second listener.
    pub(crate) const fn door(&self) -> u16 {
        self.door
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// A subscriber that is subscribed, at quality of service 1.
    pub(crate) fn subscribe(&self, filter: &str) -> Subscriber {
        self.subscribe_with(filter, &["-q", "1"])
    }

    /// A subscriber with these arguments of `mosquitto_sub`.
    pub(crate) fn subscribe_with(&self, filter: &str, arguments: &[&str]) -> Subscriber {
        Subscriber::start(&self.client(), filter, arguments)
    }
}

/// The table of a broker with this `url` and the harness's user.
pub(crate) fn table_of(name: &str, url: &str) -> String {
    format!(
        "[brokers.{name}]\nurl = {url}\nusername = \"{USER}\"\npassword = \"{PASSWORD}\"\n\
         max_backoff = \"1s\"\n"
    )
}

impl Subscriber {
    /// Subscribes with these arguments of `mosquitto_sub`, and waits until that is done.
    pub(super) fn start(client: &[String], filter: &str, arguments: &[&str]) -> Self {
        let lines = Lines::default();
        let mut command = program("mosquitto_sub", "mosquitto-clients");
        command.args(client).args(["-F", "%t\t%q\t%r\t%x\t%C\t%F\t%E\t%R\t%P"]);
        command.args(arguments).args(["-t", filter, "-t", READY]);
        let process = Running::start_reading(&mut command, &lines);
        let subscriber = Self { _process: process, lines };
        wait_for("a subscription", || subscriber.all().into_iter().find(|m| m.topic == READY));
        subscriber
    }

    /// What came until now.
    pub(crate) fn all(&self) -> Vec<Message> {
        self.lines.since(0).iter().filter_map(|line| Message::parse(line)).collect()
    }

    /// What came to a topic until now.
    pub(crate) fn at(&self, topic: &str) -> Vec<Message> {
        self.all().into_iter().filter(|message| message.topic == topic).collect()
    }

    /// The first message to a topic.
    pub(crate) fn first(&self, topic: &str) -> Message {
        wait_for(&format!("a message to {topic}"), || self.at(topic).into_iter().next())
    }

    /// The first message to a topic with this payload.
    pub(crate) fn payload(&self, topic: &str, payload: &[u8]) -> Message {
        let what = format!("{} at {topic}", String::from_utf8_lossy(payload));
        wait_for(&what, || self.at(topic).into_iter().find(|m| m.payload == payload))
    }

    /// Checks that the first message to a topic is this object, besides `time` and `n`, which it
    /// must have.
    pub(crate) fn expect(&self, topic: &str, expected: &Value) {
        let message = self.first(topic);
        let mut object = message.json();
        let members = object.as_object_mut().unwrap();
        let time = members.remove("time").expect("a time");
        assert!(time.as_str().is_some_and(|t| t.starts_with("20") && t.ends_with('Z')), "{time}");
        assert!(members.remove("n").is_some_and(|n| n.as_u64() > Some(0)), "{topic}");
        assert_eq!(&object, expected, "{topic}");
    }
}

impl Message {
    /// `topic \t qos \t retain \t hexadecimal \t properties`.
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split('\t');
        let (topic, qos, retained, hex) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        Some(Self {
            topic: topic.to_owned(),
            qos: qos.parse().ok()?,
            retained: retained == "1",
            payload: (0..hex.len()).step_by(2).map(byte).collect::<Option<_>>()?,
            properties: std::array::from_fn(|_| parts.next().unwrap_or_default().to_owned()),
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}
