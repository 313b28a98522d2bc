//! A gateway that takes commands from Mosquitto, and what it answers.

use serde_json::Value;

use super::clock::{Deadline, PATIENCE, pace, wait_for};
use super::gateway::Gateway;
use super::mosquitto::{Mosquitto, Subscriber};

/// A broker, a gateway and whoever asks.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) broker: Mosquitto,
    responses: Subscriber,
}

impl Site {
    /// Starts them, with these sources and operations in the configuration.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with("", config)
    }

    /// The same, with further keys of the broker.
    pub(crate) fn start_with(of_broker: &str, config: &str) -> Self {
        let broker = Mosquitto::start_keeping("persistence true");
        let table = broker.table("cloud");
        let config =
            format!("{table}\n{of_broker}\n[routes.all]\n[commands]\nfrom = [\"cloud\"]\n{config}");
        let config = format!("gateway.topic_prefix = \"site\"\n{config}");
        let responses = broker.subscribe("#");
        let gateway = Gateway::start(&config);
        let site = Self { gateway, broker, responses };
        site.wait_until_it_listens();
        site
    }

    /// Waits until the gateway takes commands.
    pub(crate) fn wait_until_it_listens(&self) {
        let granted = |entry: &Value| entry["fields"]["message"] == "takes commands";
        wait_for("the gateway to take commands", || {
            (self.gateway.log_entries().iter().filter(|entry| granted(entry)).count() >= 3)
                .then_some(())
        });
    }

    /// Asks with a plain value.
    pub(crate) fn ask(&self, device: &str, operation: &str, id: &str, value: &str) {
        self.broker.publish(&format!("site/gw/command/{device}/{operation}/{id}"), value, &[]);
    }

    /// Asks with an object.
    pub(crate) fn ask_json(&self, device: &str, operation: &str, request: &Value) {
        let topic = format!("site/gw/command/{device}/{operation}");
        self.broker.publish(&topic, &request.to_string(), &[]);
    }

    /// Wants a command not to be carried out.
    pub(crate) fn cancel(&self, device: &str, id: &str) {
        self.broker.publish(&format!("site/gw/cancel/{device}/{id}"), "", &[]);
    }

    /// All states that were published of a command, in order.
    pub(crate) fn responses(&self, device: &str, id: &str) -> Vec<Value> {
        let topic = format!("site/gw/response/{device}/{id}");
        self.responses.at(&topic).iter().map(|message| message.json()).collect()
    }

    /// The states alone; of a failure with its code.
    pub(crate) fn states(&self, device: &str, id: &str) -> Vec<String> {
        self.responses(device, id).iter().map(state).collect()
    }

    /// Waits until a command is in a state, and gives what was published of it.
    pub(crate) fn wait_for(&self, device: &str, id: &str, wanted: &str) -> Value {
        let deadline = Deadline::after(PATIENCE);
        loop {
            let found = self.responses(device, id);
            if let Some(response) = found.iter().find(|it| it["state"] == wanted) {
                return response.clone();
            }
            assert!(!deadline.has_passed(), "{id} for {device} is not {wanted}: {found:?}");
            pace();
        }
    }

    /// What was published at any other topic.
    pub(crate) fn at(&self, topic: &str) -> Vec<Value> {
        self.responses.at(topic).iter().map(|message| message.json()).collect()
    }
}

fn state(response: &Value) -> String {
    let state = response["state"].as_str().unwrap_or("-");
    match response["error"]["code"].as_str() {
        Some(code) => format!("{state} {code}"),
        None => state.to_owned(),
    }
}
